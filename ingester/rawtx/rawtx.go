// Package rawtx reads one transaction from its consensus serialisation, as a node sends it and as a file holds it.
// The parsing is btcd's; what is ours is the bound on memory for bytes that nobody has validated.
package rawtx

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/btcsuite/btcd/wire"
)

// MaxSize is the largest transaction in bytes: a block weighs at most 4,000,000 units and a byte at least one.
const MaxSize = 4_000_000

// ErrInvalid is wrapped by every error of Decode.
var ErrInvalid = errors.New("not a transaction")

// Decode parses exactly one transaction. Bytes left over are an error: they mean that the two sides disagree about
// what was sent. The memory it takes is in proportion to len(raw), whatever counts the bytes claim.
func Decode(raw []byte) (*wire.MsgTx, error) {
	if len(raw) > MaxSize {
		return nil, fmt.Errorf("%w: %d bytes, more than a block holds", ErrInvalid, len(raw))
	}
	if err := checkCounts(raw); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	r := bytes.NewReader(raw)
	var tx wire.MsgTx
	if err := tx.Deserialize(r); err != nil {
		return nil, fmt.Errorf("%w: at byte %d of %d: %w", ErrInvalid, len(raw)-r.Len(), len(raw), err)
	}
	if r.Len() > 0 {
		return nil, fmt.Errorf("%w: it ends at byte %d, but %d more follow", ErrInvalid, len(raw)-r.Len(), r.Len())
	}
	return &tx, nil
}

// The least that an input and an output take: 32 + 4 outpoint, 1 script length, 4 sequence; 8 value, 1 script length.
const (
	minInput  = 41
	minOutput = 9
)

// checkCounts walks the inputs and compares both counts with the bytes that are there. btcd allocates for the counts
// before it reads on, up to 180 MB for ten bytes.
func checkCounts(raw []byte) error {
	c := cursor{rest: raw}
	c.skip(4) // version
	if len(c.rest) >= 2 && c.rest[0] == wire.TxFlagMarker {
		c.skip(2)
	}
	inputs := c.count(minInput, "inputs")
	for range inputs {
		c.skip(36)
		c.skip(c.count(1, "script bytes"))
		c.skip(4)
	}
	c.count(minOutput, "outputs")
	return c.err
}

// cursor remembers its first error; after that every call does nothing.
type cursor struct {
	rest []byte
	err  error
}

func (c *cursor) skip(n uint64) {
	if c.err != nil {
		return
	}
	if n > uint64(len(c.rest)) {
		c.err = io.ErrUnexpectedEOF
		return
	}
	c.rest = c.rest[n:]
}

// count reads a variable length integer: the number of things that take at least size bytes each.
func (c *cursor) count(size int, what string) uint64 {
	n := c.varint()
	if c.err == nil && n > uint64(len(c.rest)/size) {
		c.err = fmt.Errorf("%d %s in the %d bytes that are left", n, what, len(c.rest))
	}
	if c.err != nil {
		return 0
	}
	return n
}

func (c *cursor) varint() uint64 {
	var buf [8]byte
	from := c.rest
	c.skip(1)
	if c.err != nil {
		return 0
	}
	var width int
	switch from[0] {
	case 0xfd:
		width = 2
	case 0xfe:
		width = 4
	case 0xff:
		width = 8
	default:
		return uint64(from[0])
	}
	from = c.rest
	if c.skip(uint64(width)); c.err != nil {
		return 0
	}
	copy(buf[:], from[:width])
	return binary.LittleEndian.Uint64(buf[:])
}
