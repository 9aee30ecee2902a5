package peers

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"testing"

	"github.com/btcsuite/btcd/wire"

	"sightglass/ingester/testblock"
)

// message returns a message's bytes. The guard leaves magic and checksum to btcd.
func message(command string, payload []byte) []byte {
	raw := make([]byte, wire.MessageHeaderSize, wire.MessageHeaderSize+len(payload))
	copy(raw[commandFrom:], command)
	binary.LittleEndian.PutUint32(raw[lengthFrom:], uint32(len(payload)))
	return append(raw, payload...)
}

// through returns what a guard passes on of bytes from a peer.
func through(t *testing.T, sent []byte) ([]byte, error) {
	t.Helper()
	ours, theirs := net.Pipe()
	go func() {
		theirs.Write(sent) //nolint:errcheck // the guard may have ended
		theirs.Close()
	}()
	defer ours.Close()
	g := &guard{Conn: ours}
	got, err := io.ReadAll(g)
	if g.bad.Load() != errors.Is(err, errMessage) {
		t.Errorf("got bad %v with %v, want them to agree", g.bad.Load(), err)
	}
	return got, err
}

func TestGuard_PassesMessages(t *testing.T) {
	var tx bytes.Buffer
	if err := payment(1, 1000).Serialize(&tx); err != nil {
		t.Fatal(err)
	}
	sent := bytes.Join([][]byte{
		message("ping", make([]byte, 8)), message("tx", tx.Bytes()), message("verack", nil), message("inv", make([]byte, 2*guardedStart)), message("unheardof", []byte{1}),
	}, nil)
	if got, err := through(t, sent); err != nil || !bytes.Equal(got, sent) {
		t.Errorf("got %d bytes, %v; want all %d", len(got), err, len(sent))
	}
}

// TestGuard_EndsAtMalformed: among these are the transactions at which btcd panics.
func TestGuard_EndsAtMalformed(t *testing.T) {
	first := message("ping", make([]byte, 8))
	huge := message("inv", nil)
	binary.LittleEndian.PutUint32(huge[lengthFrom:], maxGuarded+1)
	bad := map[string][]byte{"too long": huge, "empty tx": message("tx", nil), "empty block": message("block", nil)}
	for name, raw := range testblock.Hostile() {
		bad["tx, "+name] = message("tx", raw)
		bad["block, "+name] = message("block", append(append(make([]byte, wire.MaxBlockHeaderPayload), 1), raw...))
	}
	for name, raw := range bad {
		if got, err := through(t, append(bytes.Clone(first), raw...)); !errors.Is(err, errMessage) || !bytes.Equal(got, first) {
			t.Errorf("%s: got %d bytes, %v; want the first message, and an error", name, len(got), err)
		}
	}
}

// TestGuard_LengthIsNotBelieved: a peer that announces a large message and closes costs no memory for it.
func TestGuard_LengthIsNotBelieved(t *testing.T) {
	raw := message("block", nil)
	binary.LittleEndian.PutUint32(raw[lengthFrom:], maxGuarded)
	ours, theirs := net.Pipe()
	go func() {
		theirs.Write(raw) //nolint:errcheck // the guard reads all of it
		theirs.Close()
	}()
	g := &guard{Conn: ours}
	if _, err := g.Read(make([]byte, 1)); err == nil || cap(g.message) > guardedStart {
		t.Errorf("got %v, and %d bytes of memory; want an error, and %d at most", err, cap(g.message), guardedStart)
	}
}
