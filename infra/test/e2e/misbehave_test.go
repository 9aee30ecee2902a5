package e2e

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"sightglass/edge"
	"sightglass/infra/test/internal/programs"
	"sightglass/infra/test/internal/wstest"
)

// misbehave connects one client of each bad kind, each from its own address. They stay connected.
func misbehave(t *testing.T, e *edge.Edge) {
	t.Helper()
	never := dialRaw(t, e, source(200)) // never reads
	t.Cleanup(func() { never.Close() })

	midFrame := dialRaw(t, e, source(201)) // leaves in the middle of a frame, after a header of 100 bytes
	write(t, midFrame, "\x81\xe4\x01\x02\x03\x04only some")
	midFrame.Close()

	garbage := dialRaw(t, e, source(202)) // sends invalid frames
	write(t, garbage, strings.Repeat("\xff\x00garbage", 100))
	expectClosed(t, garbage)
}

// dialRaw sends a raw handshake and returns the connection.
func dialRaw(t *testing.T, e *edge.Edge, from net.IP) net.Conn {
	t.Helper()
	conn, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: from}}).DialContext(t.Context(), "tcp", e.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	write(t, conn, "GET /ws/mempool HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n")
	answer, err := http.ReadResponse(bufio.NewReaderSize(conn, 16), nil)
	if err != nil {
		t.Fatal(err)
	}
	if answer.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("got %s for the handshake, want 101", answer.Status)
	}
	return conn
}

func write(t *testing.T, conn net.Conn, data string) {
	t.Helper()
	if _, err := io.WriteString(conn, data); err != nil {
		t.Fatal(err)
	}
}

// expectClosed reads until the edge closes the connection.
func expectClosed(t *testing.T, conn net.Conn) {
	t.Helper()
	defer conn.Close()
	if err := conn.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	_, err := io.Copy(io.Discard, conn)
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
		t.Error("got a connection that stays open after garbage, want it closed")
	}
}

func TestWebSocket_CloseCodes(t *testing.T) {
	env := start(t, 1)
	e := env.edges[0]
	for name, c := range map[string]struct {
		kind websocket.MessageType
		send []string
		want websocket.StatusCode
	}{
		"binary":             {websocket.MessageBinary, []string{"x"}, 1003},
		"over 512 bytes":     {websocket.MessageText, []string{strings.Repeat("x", 513)}, 1009},
		"a flood":            {websocket.MessageText, repeat("hello", 100), 1008},
		"a flood of pings":   {websocket.MessageText, repeat(`{"type":"ping"}`, 100), 1008},
		"a compression bomb": {websocket.MessageText, []string{strings.Repeat("0", 1<<20)}, 1009},
	} {
		t.Run(name, func(t *testing.T) {
			conn := dial(t, e, source(0))
			for _, message := range c.send {
				if conn.Write(t.Context(), c.kind, []byte(message)) != nil {
					break // already closed: the code is read below
				}
			}
			var err error
			for err == nil {
				_, err = wstest.Read(t.Context(), conn)
			}
			if got := websocket.CloseStatus(err); got != c.want {
				t.Errorf("got close code %d (%v), want %d", got, err, c.want)
			}
		})
	}
	programs.Until(t, "all clients to leave", func() bool { return e.Clients() == 0 })
}

func repeat(s string, n int) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = s
	}
	return all
}

func TestWebSocket_IgnoresUnknownMessages(t *testing.T) {
	env := start(t, 1)
	v := view(t, env.edges[0], source(0))
	for _, message := range []string{"", "hello", "{", `{"type":"buy"}`, `[]`, `{"type":7}`} {
		if err := v.Conn.Write(t.Context(), websocket.MessageText, []byte(message)); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		if _, err := v.Next(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

func TestWebSocket_AnswersPing(t *testing.T) {
	env := start(t, 1)
	for send, want := range map[string]string{
		`{"type":"ping","timestamp":1556771671.25}`: `{"type":"pong","timestamp":1556771671.25}`,
		`{"type":"ping"}`: `{"type":"pong"}`,
	} {
		conn := dial(t, env.edges[0], source(0))
		if err := conn.Write(t.Context(), websocket.MessageText, []byte(send)); err != nil {
			t.Fatal(err)
		}
		got := ""
		for got == "" {
			data, err := wstest.Read(t.Context(), conn)
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(string(data), "pong") {
				got = string(data)
			}
		}
		if got != want {
			t.Errorf("%s: got %s, want %s", send, got, want)
		}
	}
}

func TestConnLimit_ClosesEleventhWith4029(t *testing.T) {
	env := start(t, 1)
	e := env.edges[0]
	var ten []*wstest.Viewer
	for range perAddress {
		v := view(t, e, source(0))
		if _, err := v.Next(t.Context()); err != nil {
			t.Fatal(err)
		}
		ten = append(ten, v)
	}
	_, err := wstest.Read(t.Context(), dial(t, e, source(0)))
	if got := websocket.CloseStatus(err); got != 4029 || !strings.Contains(fmt.Sprint(err), "too many connections") {
		t.Errorf("the eleventh: got %v, want close code 4029", err)
	}
	if _, err := wstest.Read(t.Context(), dial(t, e, source(1))); err != nil {
		t.Errorf("another address: got %v, want a snapshot", err)
	}
	if err := ten[0].Conn.Close(websocket.StatusNormalClosure, ""); err != nil {
		t.Fatal(err)
	}
	programs.Until(t, "one client to leave", func() bool { return e.Clients() == perAddress })
	if _, err := wstest.Read(t.Context(), dial(t, e, source(0))); err != nil {
		t.Errorf("after one left: got %v, want a snapshot", err)
	}
}
