package fanout

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"sightglass/edge/ws"
)

// events parses b in pieces of the given size, and describes what came of it.
func events(p *parser, b []byte, piece int) (seen []string, err error) {
	for part := range slices.Chunk(b, piece) {
		for len(part) > 0 {
			var got event
			if part, got, err = p.next(part); err != nil {
				return seen, err
			}
			switch got {
			case gotMessage:
				seen = append(seen, fmt.Sprintf("message %d %v %s", p.size, p.deflated, p.tail))
				p.done()
			case gotControl:
				seen = append(seen, fmt.Sprintf("control %d %s", p.opcode, p.payload()))
			}
		}
	}
	return seen, nil
}

func newParser(keep int) *parser { return &parser{keep: keep, tails: &tails{}} }

func TestFramesInPiecesOfEverySize(t *testing.T) {
	large := strings.Repeat("x", 300) + "end"
	var stream []byte
	stream = ws.AppendFrame(stream, opText, false, []byte("hello"))
	stream = ws.AppendFrame(stream, opPing, false, []byte("are you there"))
	stream = ws.AppendFrame(stream, opText, true, []byte(large))
	stream = append(stream, opText, 2, 'a', 'b')
	stream = ws.AppendFrame(stream, opPing, false, nil)
	stream = append(stream, opContinuation, 0)
	stream = append(stream, fin|opContinuation, 2, 'c', 'd')
	stream = ws.AppendFrame(stream, opClose, false, []byte("\x03\xe9bye"))
	want := []string{
		"message 5 false hello", "control 9 are you there", "message 303 true xxxxxend", "control 9 ",
		"message 4 false abcd", "control 8 \x03\xe9bye",
	}
	for piece := 1; piece <= len(stream); piece++ {
		got, err := events(newParser(8), stream, piece)
		if err != nil || !slices.Equal(got, want) {
			t.Fatalf("in pieces of %d: %q, %v; want %q", piece, got, err, want)
		}
	}
}

func TestLengthsAtTheirLimits(t *testing.T) {
	for _, n := range []int{0, 1, 125, 126, 127, 1<<16 - 1, 1 << 16, 1 << 20} {
		p := newParser(tailSize)
		rest, got, err := p.next(ws.AppendFrame(nil, opText, false, make([]byte, n)))
		if err != nil || got != gotMessage || len(rest) > 0 || p.size != uint64(n) || len(p.tail) != min(n, tailSize) {
			t.Errorf("%d bytes: event %d, size %d, tail %d, %d left, %v", n, got, p.size, len(p.tail), len(rest), err)
		}
	}
}

// TestSkippedBytes: what the kernel has thrown away counts, and the end is still seen.
func TestSkippedBytes(t *testing.T) {
	payload := append(make([]byte, 50_000), "the end"...)
	frame := ws.AppendFrame(nil, opText, false, payload)
	p := newParser(16)
	p.next(frame[:100]) //nolint:errcheck // the frame is good
	n := p.skippable()
	if want := uint64(len(frame) - 100 - 16); n != want {
		t.Fatalf("%d may be skipped, want %d", n, want)
	}
	p.skip(n)
	if p.skippable() != 0 {
		t.Error("the end may be skipped, too")
	}
	_, got, err := p.next(frame[100+n:])
	if err != nil || got != gotMessage || !bytes.HasSuffix(p.tail, []byte("the end")) || p.size != uint64(len(payload)) {
		t.Errorf("event %d, size %d, tail %q, %v", got, p.size, p.tail, err)
	}
}

func TestFramesThatNoServerMaySend(t *testing.T) {
	tooLong := binary.BigEndian.AppendUint64([]byte{fin | opText, length64}, 1<<63)
	for name, c := range map[string]struct {
		frames []byte
		want   error
	}{
		"masked":                         {[]byte{fin | opText, masked | 1, 0, 0, 0, 0, 'x'}, errMasked},
		"reserved bits":                  {[]byte{fin | 0x20 | opText, 0}, errReserved},
		"fragmented ping":                {[]byte{opPing, 0}, errBadControl},
		"deflated ping":                  {[]byte{fin | rsv1 | opPing, 0}, errBadControl},
		"long ping":                      {[]byte{fin | opPing, length16, 0, 126}, errBadControl},
		"continuation of nothing":        {[]byte{fin | opContinuation, 0}, errFragments},
		"deflated in the middle":         {[]byte{opText, 0, fin | rsv1 | opContinuation, 0}, errFragments},
		"a message in another":           {[]byte{opText, 0, fin | opText, 0}, errFragments},
		"a message without an end to it": {tooLong, errPayloadLarge},
	} {
		if _, err := events(newParser(8), c.frames, len(c.frames)); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	if _, err := events(newParser(8), []byte{fin | 0x3, 0}, 2); err == nil {
		t.Error("an unknown opcode is no error")
	}
}

// FuzzParser: whatever comes, in pieces or at once, is read the same.
func FuzzParser(f *testing.F) {
	f.Add(ws.AppendFrame(nil, opText, false, []byte("hello")), 3)
	f.Add(ws.AppendFrame(ws.AppendFrame(nil, opPing, false, []byte("x")), opText, true, make([]byte, 1000)), 100)
	f.Add([]byte{opText, 1, 'a', fin | opContinuation, 1, 'b'}, 1)
	f.Fuzz(func(t *testing.T, stream []byte, piece int) {
		if len(stream) == 0 || piece < 1 {
			return
		}
		whole, wholeErr := events(newParser(64), stream, len(stream))
		pieces, piecesErr := events(newParser(64), stream, piece)
		if !slices.Equal(whole, pieces) || fmt.Sprint(wholeErr) != fmt.Sprint(piecesErr) {
			t.Errorf("at once %q, %v; in pieces of %d %q, %v", whole, wholeErr, piece, pieces, piecesErr)
		}
	})
}
