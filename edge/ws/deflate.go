package ws

import (
	"bytes"
	"errors"
	"io"
	"sync"

	"github.com/klauspost/compress/flate"
)

// level is the compression level. A message is deflated once for all clients, so an extra millisecond is cheap and every
// client saves the bytes: with 1,000 points, level 6 makes 12 % less than level 1.
const level = 6

// flushMarker ends every flushed block and is omitted on the wire. finalBlock is an empty last block, which ends the
// data for a flate reader. RFC 7692, section 7.2.
const (
	flushMarker = "\x00\x00\xff\xff"
	finalBlock  = "\x01\x00\x00\xff\xff"
)

var deflaters = sync.Pool{New: func() any {
	w, err := flate.NewWriter(nil, level)
	if err != nil {
		panic(err) // invalid level
	}
	return w
}}

// Deflate returns the payload of the deflated message.
func Deflate(message []byte) []byte {
	w := deflaters.Get().(*flate.Writer)
	defer deflaters.Put(w)
	var out bytes.Buffer // writes to it never fail
	w.Reset(&out)
	_, err := w.Write(message)
	if err = errors.Join(err, w.Flush()); err != nil {
		panic(err)
	}
	return bytes.TrimSuffix(out.Bytes(), []byte(flushMarker))
}

var inflaters = sync.Pool{New: func() any { return flate.NewReader(nil) }}

// inflate reverses Deflate. It returns errTooLarge for a message of more than maxSize bytes: a few bytes can inflate to a
// million.
func inflate(payload []byte, maxSize int) ([]byte, error) {
	in := inflaters.Get().(io.Reader)
	defer inflaters.Put(in)
	whole := io.MultiReader(bytes.NewReader(payload), bytes.NewReader([]byte(flushMarker+finalBlock)))
	if err := in.(flate.Resetter).Reset(whole, nil); err != nil {
		return nil, err
	}
	message, err := io.ReadAll(io.LimitReader(in, int64(maxSize)+1))
	switch {
	case len(message) > maxSize:
		return nil, errTooLarge
	case err != nil:
		return nil, &Error{CloseNotUTF8, "invalid deflated message"}
	}
	return message, nil
}
