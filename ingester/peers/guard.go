package peers

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"

	"github.com/btcsuite/btcd/wire"

	"sightglass/ingester/rawtx"
)

// A guard is a connection to a peer. It passes on whole messages, and ends at a transaction or a block that is malformed:
// btcd's decoder panics at some of them, in a goroutine of btcd's.
type guard struct {
	net.Conn
	message []byte // the current one; reused
	left    []byte // the rest of it
	failed  error
	bad     atomic.Bool // it has ended at a malformed message
}

const (
	commandFrom  = 4 // of a message's header: magic, command, length, checksum
	lengthFrom   = commandFrom + wire.CommandSize
	maxGuarded   = 4_000_000 // bytes of a payload: as much as the largest block; all other messages are smaller
	guardedStart = 64 << 10
)

var errMessage = errors.New("a peer sent a malformed message")

// Read returns bytes of a message that was checked.
func (g *guard) Read(b []byte) (int, error) {
	if len(g.left) == 0 && g.failed == nil {
		g.failed = g.next()
	}
	if g.failed != nil {
		g.bad.Store(errors.Is(g.failed, errMessage))
		return 0, g.failed
	}
	n := copy(b, g.left)
	g.left = g.left[n:]
	return n, nil
}

// next reads and checks a message.
func (g *guard) next() error {
	if cap(g.message) > guardedStart { // a large one was the last
		g.message = nil
	}
	g.message = append(g.message[:0], make([]byte, wire.MessageHeaderSize)...)
	if _, err := io.ReadFull(g.Conn, g.message); err != nil {
		return err
	}
	command := string(bytes.TrimRight(g.message[commandFrom:lengthFrom], "\x00"))
	length := binary.LittleEndian.Uint32(g.message[lengthFrom:])
	if length > maxGuarded {
		return fmt.Errorf("%w: %.12q of %d bytes", errMessage, command, length)
	}
	// The payload is read in parts, so that a peer that announces a large one must also send it.
	payload := bytes.NewBuffer(g.message)
	if _, err := io.CopyN(payload, g.Conn, int64(length)); err != nil {
		return err
	}
	g.message = payload.Bytes()
	g.left = g.message
	var err error
	switch raw := g.message[wire.MessageHeaderSize:]; command {
	case wire.CmdTx:
		_, err = rawtx.Decode(raw)
	case wire.CmdBlock:
		_, err = rawtx.DecodeBlock(raw)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errMessage, err)
	}
	return nil
}
