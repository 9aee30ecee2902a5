// Package rawtx parses transactions and blocks in consensus serialisation, from a node and from files. All such bytes
// enter here, unvalidated; btcd relies on the counts in them.
//
// btcd's wire package (0.24.2) allocates for a count before it reads on, up to 180 MB for ten bytes, and it panics if a
// script's length exceeds what is left of its buffer of 4 MiB for one transaction's scripts. So each count and each
// length is first compared with the available bytes (walk.go), and btcd parses only what has passed. A transaction of
// MaxSize bytes cannot fill that buffer with real bytes, so no valid one is rejected.
package rawtx

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/btcsuite/btcd/wire"
)

// MaxSize is the largest transaction, and the largest block, in bytes: a block weighs at most 4,000,000 units and a byte
// at least one.
const MaxSize = 4_000_000

// The errors that are wrapped by every error of Decode and of DecodeBlock.
var (
	ErrInvalid      = errors.New("not a transaction")
	ErrInvalidBlock = errors.New("not a block")
)

// An Error reports where bytes are malformed, and what was expected there.
type Error struct {
	Offset int // bytes from the start
	Err    error
}

func (e *Error) Error() string { return fmt.Sprintf("at byte %d: %v", e.Offset, e.Err) }

// Unwrap returns the error without the place.
func (e *Error) Unwrap() error { return e.Err }

// Decode parses exactly one transaction. Trailing bytes are an error: they mean that the two sides disagree about what
// was sent. Its memory is proportional to len(raw), whatever the counts in the bytes. Its errors wrap ErrInvalid and an
// *Error.
func Decode(raw []byte) (*wire.MsgTx, error) {
	tx := new(wire.MsgTx)
	if err := decode(raw, (*cursor).transaction, tx.Deserialize); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return tx, nil
}

// DecodeBlock is Decode for a block. A block without transactions is valid here. Its errors wrap ErrInvalidBlock and an
// *Error.
func DecodeBlock(raw []byte) (*wire.MsgBlock, error) {
	block := new(wire.MsgBlock)
	if err := decode(raw, (*cursor).block, block.Deserialize); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalidBlock, err)
	}
	return block, nil
}

// decode parses raw with btcd if walk finds no error in it.
func decode(raw []byte, walk func(*cursor), parse func(io.Reader) error) error {
	if len(raw) > MaxSize {
		return &Error{MaxSize, fmt.Errorf("expected the end, but there are %d bytes, more than a block holds", len(raw))}
	}
	c := cursor{raw: raw}
	walk(&c)
	c.end()
	if c.err != nil {
		return c.err
	}
	return build(raw, parse)
}

// build turns btcd's panics into errors. No known input passes the walk and panics.
func build(raw []byte, parse func(io.Reader) error) (err error) {
	r := bytes.NewReader(raw)
	at := func() int { return len(raw) - r.Len() }
	defer func() {
		if p := recover(); p != nil {
			err = &Error{at(), fmt.Errorf("btcd panicked: %v", p)}
		}
	}()
	if err := parse(r); err != nil {
		return &Error{at(), err}
	}
	if r.Len() > 0 {
		return &Error{at(), fmt.Errorf("expected the end, but %d bytes follow", r.Len())}
	}
	return nil
}

// IsCoinbase reports whether tx is the coinbase of a block: its only input spends no output.
func IsCoinbase(tx *wire.MsgTx) bool {
	return len(tx.TxIn) == 1 && tx.TxIn[0].PreviousOutPoint == wire.OutPoint{Index: wire.MaxPrevOutIndex}
}
