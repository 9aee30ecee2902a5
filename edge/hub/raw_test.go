package hub_test

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"sightglass/edge/hub"
	"sightglass/edge/internal/edgetest"
	"sightglass/edge/ws"
)

// A rawClient sends arbitrary bytes.
type rawClient struct {
	net.Conn
	in *bufio.Reader
}

// dialRaw sends a raw handshake, with early in the same packet.
func dialRaw(t testing.TB, url, headers, early string) *rawClient {
	t.Helper()
	conn, err := net.Dial("tcp", strings.Trim(strings.TrimPrefix(url, "ws:"), "/"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	c := &rawClient{conn, bufio.NewReader(conn)}
	c.send(t, "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"+headers+"\r\n"+early)
	answer, err := http.ReadResponse(c.in, nil)
	if err != nil || answer.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("got %v, %v for the handshake, want 101", answer, err)
	}
	return c
}

func (c *rawClient) send(t testing.TB, data string) {
	t.Helper()
	if _, err := io.WriteString(c, data); err != nil {
		t.Fatal(err)
	}
}

// frame reads the server's next frame. It returns an error at the connection's end.
func (c *rawClient) frame() (first byte, payload string, err error) {
	if err := c.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
		return 0, "", err
	}
	var head [2]byte
	if _, err := io.ReadFull(c.in, head[:]); err != nil {
		return 0, "", err
	}
	length := uint64(head[1])
	switch length {
	case 126:
		var long uint16
		err = binary.Read(c.in, binary.BigEndian, &long)
		length = uint64(long)
	case 127:
		err = binary.Read(c.in, binary.BigEndian, &length)
	}
	if err != nil {
		return 0, "", err
	}
	body := make([]byte, length)
	_, err = io.ReadFull(c.in, body)
	return head[0], string(body), err
}

// masked returns a client's frame. The first byte is a parameter, so that it can be invalid. The mask key is zero.
func masked(first byte, payload string) string {
	frame := ws.AppendFrame(nil, 0, false, []byte(payload))
	size := len(frame) - len(payload)
	frame[0], frame[1] = first, frame[1]|0x80
	return string(frame[:size]) + "\x00\x00\x00\x00" + payload
}

// TestWebSocket_RespondsAsRFCRequires sends each kind of frame and checks the response: frames, close code, and the
// connection's end. The reader's own test has more kinds.
func TestWebSocket_RespondsAsRFCRequires(t *testing.T) {
	const text, binary, closing, ping, pong, end = 0x1, 0x2, 0x8, 0x9, 0xA, 0x80
	const deflate = "Sec-WebSocket-Extensions: permessage-deflate\r\n"
	closeWith := func(code int, text string) string {
		return masked(end|closing, string([]byte{byte(code >> 8), byte(code)})+text)
	}
	bomb := string(ws.Deflate(make([]byte, 1<<18)))
	for name, c := range map[string]struct {
		headers, send string
		want          string // frames as first byte:payload, then the close code
	}{
		"a ping":                         {"", masked(end|ping, "hello") + closeWith(1000, ""), "8a:hello 1000"},
		"two pings":                      {"", masked(end|ping, "1") + masked(end|ping, "2") + closeWith(1000, ""), "8a:1 8a:2 1000"},
		"ping within fragments":          {"", masked(text, "{") + masked(end|ping, "p") + masked(end, "}") + closeWith(1000, ""), "8a:p 1000"},
		"a pong":                         {"", masked(end|pong, "hello") + closeWith(1000, ""), "1000"},
		"ping in JSON":                   {"", masked(end|text, `{"type":"ping","timestamp":1}`) + closeWith(1000, ""), `81:{"type":"pong","timestamp":1} 1000`},
		"ping in JSON, deflated":         {deflate, masked(end|0x40|text, string(ws.Deflate([]byte(`{"type":"ping"}`)))) + closeWith(1000, ""), `81:{"type":"pong"} 1000`},
		"close with a code":              {"", closeWith(3000, "bye"), "3000"},
		"close without a code":           {"", masked(end|closing, ""), "none"},
		"close with one byte":            {"", masked(end|closing, "\x03"), "1002"},
		"close with a reserved code":     {"", closeWith(1006, ""), "1002"},
		"close with a code too high":     {"", closeWith(5000, ""), "1002"},
		"close with bad text":            {"", closeWith(1000, "\xff"), "1007"},
		"binary":                         {"", masked(end|binary, "x"), "1003"},
		"not UTF-8":                      {"", masked(end|text, "\xff"), "1007"},
		"too large":                      {"", masked(end|text, strings.Repeat("x", 513)), "1009"},
		"far too large":                  {"", "\x81\xff\x00\x00\x00\x7f\x00\x00\x00\x00\x00\x00\x00\x00" + strings.Repeat("x", 1<<16), "1009"},
		"too large in fragments":         {"", masked(text, strings.Repeat("x", 512)) + masked(end, "x"), "1009"},
		"a compression bomb":             {deflate, masked(end|0x40|text, bomb), "1009"},
		"no mask":                        {"", string(ws.AppendFrame(nil, text, false, []byte("x"))), "1002"},
		"a reserved bit":                 {"", masked(end|0x10|text, "x"), "1002"},
		"deflated without agreement":     {"", masked(end|0x40|text, "x"), "1002"},
		"an unknown opcode":              {"", masked(end|3, "x"), "1002"},
		"an unknown control opcode":      {"", masked(end|0xB, "x"), "1002"},
		"a ping in fragments":            {"", masked(ping, "x"), "1002"},
		"a ping of 126 bytes":            {"", masked(end|ping, strings.Repeat("x", 126)), "1002"},
		"a continuation alone":           {"", masked(end, "x"), "1002"},
		"a message within another":       {"", masked(text, "x") + masked(end|text, "x"), "1002"},
		"HTTP":                           {"", "GET / HTTP/1.1\r\n\r\n", "1002"},
		"a flood of messages":            {"", strings.Repeat(masked(end|text, "x"), 100), "1008"},
		"a flood of empty messages":      {"", strings.Repeat(masked(end|text, ""), 100), "1008"},
		"a flood of pongs":               {"", strings.Repeat(masked(end|pong, ""), 100), "1008"},
		"a flood of empty fragments":     {"", masked(text, "") + strings.Repeat(masked(0, ""), 10_000), "1008"},
		"a flood of pings in a megabyte": {"", strings.Repeat(masked(end|pong, strings.Repeat("x", 100)), 10_000), "1008"},
	} {
		t.Run(name, func(t *testing.T) {
			_, url, _ := serve(t, patient())
			for _, together := range []bool{false, true} {
				if together { // in the handshake's packet, as from a client that does not wait for the response
					if len(c.send) > 2000 { // more than the server's limit for headers
						continue
					}
					expectAnswers(t, dialRaw(t, url, c.headers, c.send), c.want)
					continue
				}
				conn := dialRaw(t, url, c.headers, "")
				go io.WriteString(conn, c.send) //nolint:errcheck // the connection may end before
				expectAnswers(t, conn, c.want)
			}
		})
	}
}

func expectAnswers(t *testing.T, conn *rawClient, want string) {
	t.Helper()
	var got []string
	for {
		first, payload, err := conn.frame()
		if err != nil {
			t.Fatalf("got %v after %q, want %q", err, got, want)
		}
		if first != 0x88 {
			got = append(got, strconv.FormatInt(int64(first), 16)+":"+payload)
			continue
		}
		code := "none"
		if len(payload) >= 2 {
			code = strconv.Itoa(int(binary.BigEndian.Uint16([]byte(payload))))
		}
		if got = append(got, code); strings.Join(got, " ") != want {
			t.Errorf("got %q, want %q", got, want)
		}
		break
	}
	if _, err := conn.in.ReadByte(); !errors.Is(err, io.EOF) {
		t.Errorf("after the close frame: got %v, want the end", err)
	}
}

// TestWebSocket_PingFloodIsClosed: pings within the message limit are answered; further ones close the connection.
func TestWebSocket_PingFloodIsClosed(t *testing.T) {
	_, url, _ := serve(t, patient())
	conn := dialRaw(t, url, "", "")
	go io.WriteString(conn, strings.Repeat(masked(0x89, "x"), 1000)) //nolint:errcheck // as above
	pongs := 0
	for {
		first, payload, err := conn.frame()
		if err != nil {
			t.Fatal(err)
		}
		if first == 0x88 {
			if code := binary.BigEndian.Uint16([]byte(payload)); code != 1008 || pongs < 20 {
				t.Errorf("got close code %d after %d pongs, want 1008 after 20", code, pongs)
			}
			return
		}
		pongs++
	}
}

// TestHub_ReleasesBrokenConnections breaks connections at every stage.
func TestHub_ReleasesBrokenConnections(t *testing.T) {
	o := hub.Options{MaxPerAddress: 5, MaxClients: 100, PingInterval: time.Minute, WriteTimeout: time.Minute}
	h, url, reg := serve(t, o)
	h.Broadcast(frame(t, 1, 1000))
	for _, last := range []string{
		"", "\x81", "\x81\xfe", "\x81\x85\x00", masked(0x81, "hello")[:8], masked(0x01, "fragment"), masked(0x88, "\x03\xe8"), masked(0x82, "x"), "garbage",
	} {
		for _, reset := range []bool{false, true} {
			for range 10 { // twice the address's limit, so some break while they are rejected
				conn := dialRaw(t, url, "", "")
				io.WriteString(conn, last) //nolint:errcheck // it may be rejected already
				if reset {
					conn.Conn.(*net.TCPConn).SetLinger(0) //nolint:errcheck // as above
				}
				conn.Close()
			}
		}
	}
	edgetest.Until(t, "all clients to leave", func() bool { return h.Len() == 0 && gauge(t, reg, "sightglass_client_addresses") == 0 })
	for range o.MaxPerAddress { // the address may use its full limit again
		expect(t, dial(t, url, false), frame(t, 1, 1000))
	}
}
