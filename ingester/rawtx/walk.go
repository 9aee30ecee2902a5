package rawtx

import (
	"encoding/binary"
	"fmt"

	"github.com/btcsuite/btcd/wire"
)

// The minimum sizes of a transaction, an input and an output, in bytes: version, counts, one input and lock time (btcd
// parses none without an input); outpoint, script length and sequence; value and script length.
const (
	minTransaction = 4 + 1 + minInput + 1 + 4
	minInput       = outpoint + 1 + 4
	minOutput      = 8 + 1
)

const (
	outpoint = 32 + 4
	header   = wire.MaxBlockHeaderPayload
)

// A cursor walks over a serialisation without allocating. It accepts what btcd's wire package accepts, within MaxSize.
// It keeps its first error; after that its methods do nothing, and counts are 0.
type cursor struct {
	raw []byte
	at  int
	err error
}

func (c *cursor) left() int { return len(c.raw) - c.at }

func (c *cursor) fail(at int, format string, args ...any) {
	if c.err == nil {
		c.err = &Error{at, fmt.Errorf(format, args...)}
	}
}

func (c *cursor) block() {
	c.skip(header, "a block's header")
	for range c.count("transactions", minTransaction) {
		c.transaction()
	}
}

func (c *cursor) transaction() {
	c.skip(4, "a transaction's version")
	flagged := c.flag()
	inputs := c.count("inputs", minInput)
	for range inputs {
		c.skip(outpoint, "an input's outpoint")
		c.bytes("bytes of an input's script")
		c.skip(4, "an input's sequence")
	}
	for range c.count("outputs", minOutput) {
		c.skip(8, "an output's value")
		c.bytes("bytes of an output's script")
	}
	if flagged {
		c.witnesses(inputs)
	}
	c.skip(4, "a transaction's lock time")
}

// flag reads the marker and the flag of a transaction with witnesses, if present.
func (c *cursor) flag() bool {
	if c.err != nil || c.left() == 0 || c.raw[c.at] != wire.TxFlagMarker {
		return false
	}
	c.skip(2, "the witness marker and flag")
	if c.err == nil && c.raw[c.at-1] != wire.WitnessFlag {
		c.fail(c.at-1, "expected the witness flag %d, got %d", wire.WitnessFlag, c.raw[c.at-1])
	}
	return true
}

func (c *cursor) witnesses(inputs int) {
	at, any := c.at, false
	for range inputs {
		items := c.count("witness items", 1)
		for range items {
			c.bytes("bytes of a witness item")
		}
		any = any || items > 0
	}
	if !any {
		c.fail(at, "expected a witness, as flagged, but there is none")
	}
}

// end checks that no bytes are left.
func (c *cursor) end() {
	if c.left() > 0 {
		c.fail(c.at, "expected the end, but %d bytes follow", c.left())
	}
}

// skip skips n bytes.
func (c *cursor) skip(n int, what string) {
	if c.err == nil && n > c.left() {
		c.fail(c.at, "expected %s, %d bytes, but %d are left", what, n, c.left())
	}
	if c.err == nil {
		c.at += n
	}
}

// bytes skips a length and as many bytes.
func (c *cursor) bytes(what string) { c.skip(c.count(what, 1), what) }

// count reads how many items of at least the given size follow. The number must be in its shortest form.
func (c *cursor) count(what string, least int) int {
	if c.err != nil {
		return 0
	}
	at := c.at
	n, shortest := c.varint()
	switch {
	case c.at == at:
		c.fail(at, "expected the number of %s, but %d bytes are left", what, c.left())
	case !shortest:
		c.fail(at, "expected the number of %s in its shortest form, got %d in %d bytes", what, n, c.at-at)
	case n > uint64(c.left()/least):
		c.fail(at, "expected %d %s, but %d bytes are left", n, what, c.left())
	default:
		return int(n)
	}
	return 0
}

// varint reads an integer of 1, 3, 5 or 9 bytes. It does not advance if they are not all available.
func (c *cursor) varint() (n uint64, shortest bool) {
	rest := c.raw[c.at:]
	if len(rest) == 0 {
		return 0, false
	}
	var width int
	var least uint64
	switch rest[0] {
	case 0xfd:
		width, least = 2, 0xfd
	case 0xfe:
		width, least = 4, 1<<16
	case 0xff:
		width, least = 8, 1<<32
	}
	if len(rest) <= width {
		return 0, false
	}
	c.at += 1 + width
	if width == 0 {
		return uint64(rest[0]), true
	}
	var padded [8]byte
	copy(padded[:], rest[1:1+width])
	n = binary.LittleEndian.Uint64(padded[:])
	return n, n >= least
}
