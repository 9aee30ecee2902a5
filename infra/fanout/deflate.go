package fanout

import (
	"bytes"
	"compress/flate"
	"errors"
	"hash/maphash"
	"io"
)

// maxIndexed is the number of messages that a deflateIndex holds: 32 s at the default rate, 0.6 s at the highest.
const maxIndexed = 64

// A deflateIndex finds the snapshot of a deflated message without inflating it for every client. All clients get the same
// bytes, so a hash identifies a message. Only some clients keep whole messages: the first of them inflates the message and
// adds its timestamp; earlier arrivals wait until then.
type deflateIndex struct {
	seed       maphash.Seed
	order      []uint64           // hashes, oldest first
	timestamps map[uint64]int64   // Unix milliseconds, by hash
	waiting    map[uint64][]int64 // arrival times in Unix nanoseconds, by hash

	inflater io.ReadCloser
	text     bytes.Buffer
}

func newDeflateIndex() *deflateIndex {
	return &deflateIndex{
		seed: maphash.MakeSeed(), timestamps: make(map[uint64]int64), waiting: make(map[uint64][]int64),
	}
}

func (x *deflateIndex) hash(tail []byte) uint64 {
	return maphash.Bytes(x.seed, tail[max(len(tail)-tailSize, 0):])
}

// lookup returns the timestamp of the message that ends with tail. If the message is not indexed yet, lookup returns false
// and keeps the arrival time until add is called.
func (x *deflateIndex) lookup(tail []byte, at int64) (timestamp int64, ok bool) {
	hash := x.hash(tail)
	if timestamp, ok = x.timestamps[hash]; !ok {
		x.reserve(hash)
		x.waiting[hash] = append(x.waiting[hash], at)
	}
	return timestamp, ok
}

// add inflates and indexes a message. It returns the message's timestamp and the arrival times that waited for it, or an
// error if the message cannot be inflated or has no timestamp.
func (x *deflateIndex) add(message []byte) (timestamp int64, waiting []int64, err error) {
	text, err := x.inflate(message)
	if err != nil {
		return 0, nil, err
	}
	timestamp, ok := parseTimestamp(text)
	if !ok {
		return 0, nil, errors.New("message without a timestamp")
	}
	hash := x.hash(message)
	waiting = x.waiting[hash]
	delete(x.waiting, hash)
	x.reserve(hash)
	x.timestamps[hash] = timestamp
	return timestamp, waiting, nil
}

// reserve makes room for a hash: if it is new and the index is full, the oldest entry is removed.
func (x *deflateIndex) reserve(hash uint64) {
	_, indexed := x.timestamps[hash]
	if _, waiting := x.waiting[hash]; indexed || waiting {
		return
	}
	if len(x.order) == maxIndexed {
		delete(x.timestamps, x.order[0])
		delete(x.waiting, x.order[0])
		x.order = x.order[1:]
	}
	x.order = append(x.order, hash)
}

// deflateEnd is the flush marker that permessage-deflate omits, and an empty last block (RFC 7692, 7.2.2).
var deflateEnd = []byte("\x00\x00\xff\xff\x01\x00\x00\xff\xff")

func (x *deflateIndex) inflate(message []byte) ([]byte, error) {
	in := io.MultiReader(bytes.NewReader(message), bytes.NewReader(deflateEnd))
	if x.inflater == nil {
		x.inflater = flate.NewReader(in)
	} else if err := x.inflater.(flate.Resetter).Reset(in, nil); err != nil {
		return nil, err
	}
	x.text.Reset()
	_, err := io.Copy(&x.text, io.LimitReader(x.inflater, maxPayload))
	return x.text.Bytes(), err
}
