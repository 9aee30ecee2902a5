package ws

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"strconv"
	"strings"
	"testing"
)

// maskKey is the clients' mask key in these tests.
var maskKey = [4]byte{1, 2, 3, 4}

// clientFrame returns a client's frame. The first byte is a parameter, so that it can be invalid.
func clientFrame(first byte, payload string) []byte {
	frame := AppendFrame(nil, 0, false, []byte(payload))
	size := len(frame) - len(payload)
	frame[0], frame[1] = first, frame[1]|masked
	frame = append(frame[:size:size], maskKey[:]...)
	for i, b := range []byte(payload) {
		frame = append(frame, b^maskKey[i%4])
	}
	return frame
}

func TestAppendFrame_RoundTrip(t *testing.T) {
	for _, size := range []int{0, 1, 125, 126, 127, 65535, 65536, 70000} {
		payload := bytes.Repeat([]byte("x"), size)
		frame := AppendFrame(nil, Text, true, payload)
		frame[1] |= masked // readHeader requires the bit
		long := len(frame) - size
		in := bufio.NewReader(bytes.NewReader(append(frame[:long:long], make([]byte, 4+size)...)))
		h, err := readHeader(in, true)
		if err != nil || h.length != uint64(size) || h.opcode != Text || !h.fin || !h.deflated {
			t.Errorf("%d bytes: got %+v, %v, want the same frame", size, h, err)
		}
	}
}

// TestReader_Next covers what a client can send, after the cases of the Autobahn test suite.
func TestReader_Next(t *testing.T) {
	const end = fin
	frames := func(all ...[]byte) []byte { return bytes.Join(all, nil) }
	text := func(s string) []byte { return clientFrame(end|Text, s) }
	bomb := string(Deflate(bytes.Repeat([]byte("0"), 1<<20)))
	long := func(length uint64) []byte {
		return append(binary.BigEndian.AppendUint64([]byte{end | Text, masked | length64}, length), maskKey[:]...)
	}
	for name, c := range map[string]struct {
		in   []byte
		want string // the messages, then the code of the error; 0 at the end of the connection
	}{
		"text":                              {text("hello"), "1:hello 0"},
		"empty text":                        {text(""), "1: 0"},
		"the largest text":                  {text(strings.Repeat("x", 512)), "1:" + strings.Repeat("x", 512) + " 0"},
		"too large":                         {text(strings.Repeat("x", 513)), "1009"},
		"far too large":                     {long(1 << 62), "1009"},
		"binary":                            {clientFrame(end|Binary, "\xff"), "2:\xff 0"},
		"fragments":                         {frames(clientFrame(Text, "a"), clientFrame(Continuation, "b"), clientFrame(end|Continuation, "c")), "0: 0: 1:abc 0"},
		"empty fragments":                   {frames(clientFrame(Text, ""), clientFrame(Continuation, ""), clientFrame(end|Continuation, "")), "0: 0: 1: 0"},
		"fragments too large together":      {frames(clientFrame(Text, strings.Repeat("x", 500)), clientFrame(Continuation, strings.Repeat("x", 13))), "0: 1009"},
		"ping between fragments":            {frames(clientFrame(Text, "a"), clientFrame(end|Ping, "p"), clientFrame(end|Continuation, "c")), "0: 9:p 1:ac 0"},
		"ping":                              {clientFrame(end|Ping, strings.Repeat("p", 125)), "9:" + strings.Repeat("p", 125) + " 0"},
		"unsolicited pong":                  {clientFrame(end|Pong, "x"), "10:x 0"},
		"close":                             {clientFrame(end|Close, "\x03\xe8bye"), "8:\x03\xe8bye 0"},
		"ping over 125 bytes":               {clientFrame(end|Ping, strings.Repeat("p", 126)), "1002"},
		"ping in fragments":                 {clientFrame(Ping, "p"), "1002"},
		"continuation alone":                {clientFrame(end|Continuation, "x"), "1002"},
		"continuation after the end":        {frames(text("a"), clientFrame(Continuation, "b")), "1:a 1002"},
		"text within fragments":             {frames(clientFrame(Text, "a"), text("b")), "0: 1002"},
		"reserved bit 1":                    {clientFrame(end|0x40|Text, "a"), "1002"},
		"reserved bit 2":                    {clientFrame(end|0x20|Text, "a"), "1002"},
		"reserved bit 3":                    {clientFrame(end|0x10|Text, "a"), "1002"},
		"opcode 3":                          {clientFrame(end|3, "a"), "1002"},
		"opcode 7":                          {clientFrame(end|7, ""), "1002"},
		"opcode 11":                         {clientFrame(end|11, ""), "1002"},
		"opcode 15":                         {clientFrame(end|15, "a"), "1002"},
		"unmasked":                          {AppendFrame(nil, Text, false, []byte("a")), "1002"},
		"a long form for a short length":    {[]byte{end | Text, masked | length16, 0, 5}, "1002"},
		"a longer form for a medium length": {long(65535), "1002"},
		"a negative length":                 {long(1 << 63), "1002"},
		"not UTF-8":                         {text("\xce\xba\xed\xa0\x80"), "1007"},
		"half a rune":                       {text("\xce"), "1007"},
		"a rune in two fragments":           {frames(clientFrame(Text, "\xce"), clientFrame(end|Continuation, "\xba")), "0: 1:\xce\xba 0"},
		"cut in the header":                 {[]byte{end | Text}, "0"},
		"cut in the payload":                {text("hello")[:8], "0"},
		"deflated":                          {clientFrame(end|rsv1|Text, string(Deflate([]byte("hello")))), "d 1:hello 0"},
		"deflated and empty":                {clientFrame(end|rsv1|Text, "\x00"), "d 1: 0"},
		"deflated in fragments":             {frames(clientFrame(rsv1|Text, string(Deflate([]byte("hello"))[:3])), clientFrame(end|Continuation, string(Deflate([]byte("hello"))[3:]))), "d 0: 1:hello 0"},
		"deflated without the bit":          {clientFrame(end|Text, "hello"), "d 1:hello 0"},
		"a continuation with the bit":       {frames(clientFrame(rsv1|Text, "a"), clientFrame(end|rsv1|Continuation, "")), "d 0: 1002"},
		"a deflated ping":                   {clientFrame(end|rsv1|Ping, ""), "d 1002"},
		"a compression bomb":                {clientFrame(end|rsv1|Text, bomb[:min(len(bomb), 512)]), "d 1009"},
		"invalid deflated data":             {clientFrame(end|rsv1|Text, "\xff\xff\xff"), "d 1007"},
		"deflated text that is not UTF-8":   {clientFrame(end|rsv1|Text, string(Deflate([]byte("\xff")))), "d 1007"},
	} {
		t.Run(name, func(t *testing.T) {
			want, deflate := strings.CutPrefix(c.want, "d ")
			r := &Reader{in: bufio.NewReaderSize(bytes.NewReader(c.in), bufferSize), deflate: deflate, maxSize: 512}
			if got := readAll(r); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

// readAll returns everything that a Reader returns, in the notation of TestReader_Next.
func readAll(r *Reader) string {
	var got []string
	for {
		opcode, payload, err := r.Next()
		if err != nil {
			code := 0
			if wrong, ok := errors.AsType[*Error](err); ok {
				code = wrong.Code
			}
			return strings.Join(append(got, strconv.Itoa(code)), " ")
		}
		got = append(got, strconv.Itoa(int(opcode))+":"+string(payload))
	}
}

func TestCloseCode_ValidatesPayload(t *testing.T) {
	with := func(code int, text string) []byte {
		return append(binary.BigEndian.AppendUint16(nil, uint16(code)), text...)
	}
	for name, c := range map[string]struct {
		payload []byte
		want    int // the code, or the error's if it is negative
	}{
		"none":           {nil, CloseNoCode},
		"half":           {[]byte{3}, -1002},
		"normal":         {with(1000, "bye"), 1000},
		"registered":     {with(1014, ""), 1014},
		"a library's":    {with(3000, ""), 3000},
		"an app's":       {with(4999, ""), 4999},
		"0":              {with(0, ""), -1002},
		"999":            {with(999, ""), -1002},
		"1004":           {with(1004, ""), -1002},
		"1005":           {with(1005, ""), -1002},
		"1006":           {with(1006, ""), -1002},
		"1015":           {with(1015, ""), -1002},
		"1016":           {with(1016, ""), -1002},
		"2999":           {with(2999, ""), -1002},
		"5000":           {with(5000, ""), -1002},
		"65535":          {with(65535, ""), -1002},
		"bad text":       {with(1000, "\xff"), -1007},
		"123 bytes long": {with(1000, strings.Repeat("x", 123)), 1000},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := CloseCode(c.payload)
			if wrong, ok := errors.AsType[*Error](err); ok {
				got = -wrong.Code
			}
			if got != c.want {
				t.Errorf("got %d, want %d", got, c.want)
			}
		})
	}
}

func TestAppendClose_TruncatesText(t *testing.T) {
	if got := AppendClose(nil, CloseNoCode, "x"); !bytes.Equal(got, []byte{0x88, 0}) {
		t.Errorf("without a code: got %x, want an empty payload", got)
	}
	if got := AppendClose(nil, CloseGoingAway, "go"); string(got) != "\x88\x04\x03\xe9go" {
		t.Errorf("got %q, want code 1001 and the text", got)
	}
	if got := AppendClose(nil, CloseGoingAway, strings.Repeat("x", 200)); len(got) != 2+MaxControl {
		t.Errorf("a long text: got %d bytes, want 127", len(got))
	}
}

func TestDeflate_RoundTrip(t *testing.T) {
	for _, size := range []int{0, 1, 500, 1 << 20} {
		message := bytes.Repeat([]byte("ab"), size/2)
		got, err := inflate(Deflate(message), 1<<20)
		if err != nil || !bytes.Equal(got, message) {
			t.Errorf("%d bytes: got %d, %v, want the same", size, len(got), err)
		}
	}
	if _, err := inflate(Deflate(make([]byte, 101)), 100); !errors.Is(err, errTooLarge) {
		t.Errorf("got %v, want errTooLarge", err)
	}
}

// FuzzReader: with any input the Reader returns an error in the end, and stays within maxSize.
func FuzzReader(f *testing.F) {
	f.Add(clientFrame(fin|Text, "hello"), false)
	f.Add(clientFrame(fin|rsv1|Text, string(Deflate([]byte("hello")))), true)
	f.Add(clientFrame(Text, "a"), false)
	f.Add([]byte{fin | Text, masked | length64, 0, 0, 0, 1, 0, 0, 0, 0}, false)
	f.Fuzz(func(t *testing.T, data []byte, deflate bool) {
		r := &Reader{in: bufio.NewReader(bytes.NewReader(data)), deflate: deflate, maxSize: 512}
		for {
			_, payload, err := r.Next()
			if len(payload) > 512 || len(r.message) > 512 {
				t.Fatalf("got a payload of %d bytes and fragments of %d bytes, want at most 512", len(payload), len(r.message))
			}
			if err != nil {
				if _, ours := errors.AsType[*Error](err); !ours && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
					t.Fatalf("got error %v, want an Error or the end", err)
				}
				return
			}
		}
	})
}
