package txfile

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/btcsuite/btcd/wire"

	"sightglass/ingester/rawtx"
)

// decodeText reads one transaction in hex a line, and skips empty lines.
func decodeText(name string, in *bufio.Reader) (*File, error) {
	var (
		txs    []*wire.MsgTx
		offset int64
	)
	for number := 1; ; number++ {
		line, err := readLine(in)
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, &Error{File: name, Offset: offset, Line: number, Err: err}
		}
		if text := bytes.TrimSpace(line); len(text) > 0 {
			tx, at, bad := decodeHex(text)
			if bad != nil {
				at += bytes.Index(line, text)
				return nil, &Error{File: name, Offset: offset + int64(at), Line: number, Err: fmt.Errorf("%w; %w", bad, ErrFormat)}
			}
			txs = append(txs, tx)
		}
		offset += int64(len(line))
		if err != nil {
			break
		}
	}
	if len(txs) == 0 {
		return nil, &Error{File: name, Err: fmt.Errorf("only white space; %w", ErrFormat)}
	}
	return &File{Transactions: txs}, nil
}

// maxLine is the size of the largest transaction in hex with its line end.
const maxLine = 2*rawtx.MaxSize + 2

// readLine returns the next line with its end. At the end of the file it returns the rest and io.EOF.
func readLine(in *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := in.ReadSlice('\n')
		line = append(line, part...)
		if len(line) > maxLine {
			return nil, fmt.Errorf("a line of over %d characters is not a transaction", maxLine)
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return line, err
		}
	}
}

// decodeHex parses one transaction. An error comes with the index of the wrong character of text.
func decodeHex(text []byte) (tx *wire.MsgTx, at int, err error) {
	raw := make([]byte, hex.DecodedLen(len(text)))
	if _, err := hex.Decode(raw, text); err != nil {
		if at = slices.IndexFunc(text, func(c byte) bool { return !isHex(c) }); at < 0 {
			at = len(text) // an odd number of them
		}
		return nil, at, err
	}
	if tx, err = rawtx.Decode(raw); err != nil {
		offset, err := place(err, rawtx.ErrInvalid)
		return nil, hex.EncodedLen(offset), err
	}
	return tx, 0, nil
}
