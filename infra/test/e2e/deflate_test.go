package e2e

import (
	"bufio"
	"bytes"
	"compress/flate"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"sightglass/edge"
	"sightglass/edge/hub"
	"sightglass/infra/test/internal/programs"
	"sightglass/infra/test/internal/redistest"
	"sightglass/shared/contract"
)

// TestWebSocket_FramesMatchNegotiatedDeflate: for valid and invalid offers of permessage-deflate, the frames match the
// response's header, in both protocols. Package ws tests more offers.
func TestWebSocket_FramesMatchNegotiatedDeflate(t *testing.T) {
	server := redistest.Start(t)
	if err := server.Client().Set(t.Context(), contract.KeyLatest, encode("5", 10), 0).Err(); err != nil {
		t.Fatal(err)
	}
	e := edgeWith(t, server, func(o *edge.Options) { o.MaxPerAddress = 1000 })
	programs.Until(t, "the edge to be ready", func() bool { code, _ := get(t, e, "/readyz"); return code == http.StatusOK })

	const (
		none     = ""
		agreed   = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
		agreed15 = agreed + "; server_max_window_bits=15"
	)
	for name, c := range map[string]struct {
		lines []string // of Sec-WebSocket-Extensions
		want  string
	}{
		"no offer":               {nil, none},
		"plain":                  {[]string{"permessage-deflate"}, agreed},
		"Chromium's":             {[]string{"permessage-deflate; client_max_window_bits"}, agreed},
		"in quotes":              {[]string{`permessage-deflate; client_max_window_bits="10"`}, agreed},
		"our window":             {[]string{"permessage-deflate; server_max_window_bits=15"}, agreed15},
		"a smaller window":       {[]string{"permessage-deflate; server_max_window_bits=9"}, none},
		"bits=7":                 {[]string{"permessage-deflate; client_max_window_bits=7"}, none},
		"bits=16":                {[]string{"permessage-deflate; client_max_window_bits=16"}, none},
		"bits=08":                {[]string{"permessage-deflate; client_max_window_bits=08"}, none},
		"bits=abc":               {[]string{"permessage-deflate; client_max_window_bits=abc"}, none},
		"bits=":                  {[]string{"permessage-deflate; client_max_window_bits="}, none},
		"a needless value":       {[]string{"permessage-deflate; server_no_context_takeover=1"}, none},
		"a repeated parameter":   {[]string{"permessage-deflate; client_max_window_bits=10; client_max_window_bits=10"}, none},
		"unknown":                {[]string{"permessage-deflate; x"}, none},
		"in a quoted value":      {[]string{`foo; a="b, permessage-deflate, c"`}, none},
		"another case":           {[]string{"Permessage-Deflate"}, none},
		"a longer name":          {[]string{"permessage-deflate-not"}, none},
		"the second is good":     {[]string{"permessage-deflate; client_max_window_bits=7, permessage-deflate"}, agreed},
		"on a second line":       {[]string{"foo; a=b", "permessage-deflate"}, agreed},
		"good, then bad":         {[]string{"permessage-deflate", "permessage-deflate; server_max_window_bits=15"}, agreed},
		"bad, then good":         {[]string{"permessage-deflate; server_max_window_bits=8", "permessage-deflate; server_max_window_bits=15"}, agreed15},
		"a quote over two lines": {[]string{`foo; a="b`, `permessage-deflate, c"`}, none},
		"a malformed list":       {[]string{"permessage-deflate, foo bar"}, none},
	} {
		for protocol, decode := range map[string]func([]byte) (*contract.Snapshot, error){"": contract.DecodeSnapshot, hub.DeltaProtocol: new(contract.Replica).Apply} {
			t.Run(fmt.Sprintf("%s %s", name, protocol), func(t *testing.T) {
				answer, in := offer(t, e, protocol, c.lines)
				if got := strings.Join(answer.Header.Values("Sec-WebSocket-Extensions"), " | "); got != c.want {
					t.Errorf("got extensions %q, want %q", got, c.want)
				}
				if got := answer.Header.Get("Sec-WebSocket-Protocol"); got != protocol {
					t.Errorf("protocol %q: got %q, want the same", protocol, got)
				}
				first, payload := readFrame(t, in)
				wantFirst := byte(0x81) // a whole text message
				if c.want != none {
					wantFirst |= 0x40 // deflated
					payload = inflate(t, payload)
				}
				if first != wantFirst {
					t.Errorf("got first byte %x, want %x", first, wantFirst)
				}
				if s, err := decode(payload); err != nil || s.Seq != 10 {
					t.Errorf("got %v, %v from the payload %.100q, want a snapshot", s, err, payload)
				}
			})
		}
	}
}

// offer sends a raw handshake, and returns the response and a reader of the frames after it.
func offer(t *testing.T, e *edge.Edge, protocol string, extensions []string) (*http.Response, *bufio.Reader) {
	t.Helper()
	conn, err := net.Dial("tcp", e.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	request := "GET /ws/mempool HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
	if protocol != "" {
		request += "Sec-WebSocket-Protocol: " + protocol + "\r\n"
	}
	for _, line := range extensions {
		request += "Sec-WebSocket-Extensions: " + line + "\r\n"
	}
	write(t, conn, request+"\r\n")
	in := bufio.NewReader(conn)
	answer, err := http.ReadResponse(in, nil)
	if err != nil || answer.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("got %v, %v, want 101", answer, err)
	}
	return answer, in
}

// readFrame reads one frame of the server.
func readFrame(t *testing.T, in *bufio.Reader) (first byte, payload []byte) {
	t.Helper()
	var head [2]byte
	if _, err := io.ReadFull(in, head[:]); err != nil {
		t.Fatal(err)
	}
	length := uint64(head[1])
	var err error
	switch length {
	case 126:
		var long uint16
		err = binary.Read(in, binary.BigEndian, &long)
		length = uint64(long)
	case 127:
		err = binary.Read(in, binary.BigEndian, &length)
	}
	if err != nil {
		t.Fatal(err)
	}
	payload = make([]byte, length)
	if _, err := io.ReadFull(in, payload); err != nil {
		t.Fatal(err)
	}
	return head[0], payload
}

// inflate reverses permessage-deflate without context takeover (RFC 7692, section 7.2.2).
func inflate(t *testing.T, payload []byte) []byte {
	t.Helper()
	end := strings.NewReader("\x00\x00\xff\xff\x01\x00\x00\xff\xff")
	message, err := io.ReadAll(flate.NewReader(io.MultiReader(bytes.NewReader(payload), end)))
	if err != nil {
		t.Fatalf("%v: %x", err, payload)
	}
	return message
}
