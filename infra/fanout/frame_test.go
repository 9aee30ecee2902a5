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

// parse parses b in parts of the given size, and describes the messages and control frames.
func parse(p *parser, b []byte, size int) (seen []string, err error) {
	for part := range slices.Chunk(b, size) {
		for len(part) > 0 {
			var parsed event
			if part, parsed, err = p.next(part); err != nil {
				return seen, err
			}
			switch parsed {
			case messageEnd:
				seen = append(seen, fmt.Sprintf("message %d %v %s", p.size, p.deflated, p.tail))
				p.release()
			case controlEnd:
				seen = append(seen, fmt.Sprintf("control %d %s", p.opcode, p.payload()))
			}
		}
	}
	return seen, nil
}

func newParser(maxTail int) *parser { return &parser{maxTail: maxTail, tails: &tailPool{}} }

func TestParser_FramesInPartsOfEverySize(t *testing.T) {
	large := strings.Repeat("x", 300) + "end"
	var stream []byte
	stream = ws.AppendFrame(stream, ws.Text, false, []byte("hello"))
	stream = ws.AppendFrame(stream, ws.Ping, false, []byte("are you there"))
	stream = ws.AppendFrame(stream, ws.Text, true, []byte(large))
	stream = append(stream, ws.Text, 2, 'a', 'b')
	stream = ws.AppendFrame(stream, ws.Ping, false, nil)
	stream = append(stream, ws.Continuation, 0)
	stream = append(stream, fin|ws.Continuation, 2, 'c', 'd')
	stream = ws.AppendFrame(stream, ws.Close, false, []byte("\x03\xe9bye"))
	want := []string{
		"message 5 false hello", "control 9 are you there", "message 303 true xxxxxend", "control 9 ",
		"message 4 false abcd", "control 8 \x03\xe9bye",
	}
	for size := 1; size <= len(stream); size++ {
		got, err := parse(newParser(8), stream, size)
		if err != nil || !slices.Equal(got, want) {
			t.Fatalf("in parts of %d: %q, %v; want %q", size, got, err, want)
		}
	}
}

func TestParser_LengthEncodings(t *testing.T) {
	for _, n := range []int{0, 1, 125, 126, 127, 1<<16 - 1, 1 << 16, 1 << 20} {
		p := newParser(tailSize)
		rest, got, err := p.next(ws.AppendFrame(nil, ws.Text, false, make([]byte, n)))
		if err != nil || got != messageEnd || len(rest) > 0 || p.size != uint64(n) || len(p.tail) != min(n, tailSize) {
			t.Errorf("%d bytes: event %d, size %d, tail %d, %d left, %v", n, got, p.size, len(p.tail), len(rest), err)
		}
	}
}

// TestParser_Skip: discarded bytes count towards the size, and the tail is still parsed.
func TestParser_Skip(t *testing.T) {
	payload := append(make([]byte, 50_000), "the end"...)
	frame := ws.AppendFrame(nil, ws.Text, false, payload)
	p := newParser(16)
	p.next(frame[:100]) //nolint:errcheck // the frame is good
	n := p.skippable()
	if want := uint64(len(frame) - 100 - 16); n != want {
		t.Fatalf("skippable: %d, want %d", n, want)
	}
	p.skip(n)
	if p.skippable() != 0 {
		t.Error("the tail is skippable")
	}
	_, got, err := p.next(frame[100+n:])
	if err != nil || got != messageEnd || !bytes.HasSuffix(p.tail, []byte("the end")) || p.size != uint64(len(payload)) {
		t.Errorf("event %d, size %d, tail %q, %v", got, p.size, p.tail, err)
	}
}

func TestParser_InvalidFrames(t *testing.T) {
	tooLong := binary.BigEndian.AppendUint64([]byte{fin | ws.Text, length64}, 1<<63)
	for name, c := range map[string]struct {
		frames []byte
		want   error
	}{
		"masked":                   {[]byte{fin | ws.Text, masked | 1, 0, 0, 0, 0, 'x'}, errMasked},
		"reserved bits":            {[]byte{fin | 0x20 | ws.Text, 0}, errReservedBits},
		"fragmented ping":          {[]byte{ws.Ping, 0}, errInvalidControl},
		"deflated ping":            {[]byte{fin | rsv1 | ws.Ping, 0}, errInvalidControl},
		"long ping":                {[]byte{fin | ws.Ping, length16, 0, 126}, errInvalidControl},
		"continuation first":       {[]byte{fin | ws.Continuation, 0}, errFragmentOrder},
		"deflated continuation":    {[]byte{ws.Text, 0, fin | rsv1 | ws.Continuation, 0}, errFragmentOrder},
		"message within a message": {[]byte{ws.Text, 0, fin | ws.Text, 0}, errFragmentOrder},
		"payload too large":        {tooLong, errPayloadTooLarge},
	} {
		if _, err := parse(newParser(8), c.frames, len(c.frames)); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	if _, err := parse(newParser(8), []byte{fin | 0x3, 0}, 2); err == nil {
		t.Error("no error for an unknown opcode")
	}
}

// FuzzParser: the result does not depend on how the bytes are split.
func FuzzParser(f *testing.F) {
	f.Add(ws.AppendFrame(nil, ws.Text, false, []byte("hello")), 3)
	f.Add(ws.AppendFrame(ws.AppendFrame(nil, ws.Ping, false, []byte("x")), ws.Text, true, make([]byte, 1000)), 100)
	f.Add([]byte{ws.Text, 1, 'a', fin | ws.Continuation, 1, 'b'}, 1)
	f.Fuzz(func(t *testing.T, stream []byte, size int) {
		if len(stream) == 0 || size < 1 {
			return
		}
		whole, wholeErr := parse(newParser(64), stream, len(stream))
		parts, partsErr := parse(newParser(64), stream, size)
		if !slices.Equal(whole, parts) || fmt.Sprint(wholeErr) != fmt.Sprint(partsErr) {
			t.Errorf("whole: %q, %v; in parts of %d: %q, %v", whole, wholeErr, size, parts, partsErr)
		}
	})
}
