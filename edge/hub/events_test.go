package hub_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sightglass/edge/hub"
	"sightglass/edge/internal/edgetest"
	"sightglass/shared/contract"
)

// serveEvents passes connections of a real listener to the hub after reading their request, and returns the address.
// The query "delta" requests deltas.
func serveEvents(t testing.TB, h *hub.Hub) string {
	t.Helper()
	ln, err := (&net.ListenConfig{Control: smallBuffer}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			request, err := http.ReadRequest(bufio.NewReader(conn))
			if err != nil {
				conn.Close()
				continue
			}
			h.ServeEvents(conn, loopback, http.Header{"Content-Type": {"text/event-stream"}}, request.URL.RawQuery == "delta")
		}
	}()
	return ln.Addr().String()
}

// An eventClient reads a stream of events as EventSource does.
type eventClient struct {
	net.Conn
	response *http.Response
	body     *bufio.Reader
	comments atomic.Int32
}

type event struct{ name, id, data string }

func dialEvents(t testing.TB, addr, query string, narrow bool) *eventClient {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err == nil && narrow {
		err = conn.(*net.TCPConn).SetReadBuffer(narrowBuffer)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if _, err := fmt.Fprintf(conn, "GET /?%s HTTP/1.1\r\nHost: x\r\n\r\n", query); err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { response.Body.Close() })
	return &eventClient{Conn: conn, response: response, body: bufio.NewReader(response.Body)}
}

// next reads an event. It returns io.EOF at the end of the stream.
func (c *eventClient) next(t testing.TB) (e event, err error) {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	for {
		line, err := c.body.ReadString('\n')
		if err != nil {
			return e, err
		}
		field, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		switch field {
		case "event":
			e.name = value
		case "id":
			e.id = value
		case "data":
			e.data = value
		case ":":
			c.comments.Add(1)
		case "":
			if e.name != "" {
				return e, nil
			}
		}
	}
}

// TestEvents_CarrySameSnapshots is TestHub_EveryProtocolCarriesSameSnapshots for events: one client reads continuously,
// one rarely.
func TestEvents_CarrySameSnapshots(t *testing.T) {
	for query, names := range map[string]string{"": "snapshot", "delta": "keyframe delta"} {
		t.Run(names, func(t *testing.T) {
			h, _, reg := serve(t, patient())
			addr := serveEvents(t, h)
			r := newSimulation(7)
			quick, slow := dialEvents(t, addr, query, false), dialEvents(t, addr, query, true)
			edgetest.Until(t, "both to join", func() bool { return h.Len() == 2 })
			replicas := map[*eventClient]*contract.Replica{quick: {}, slow: {}}
			seen := make(map[string]int)
			// upTo reads until the client has the named snapshot.
			upTo := func(c *eventClient, last string) {
				for {
					e, err := c.next(t)
					if err != nil {
						t.Fatal(err)
					}
					seen[e.name]++
					s, err := contract.DecodeSnapshot([]byte(e.data))
					if query == "delta" {
						s, err = replicas[c].Apply([]byte(e.data))
					}
					if err != nil {
						t.Fatalf("got %v from the event %.100q, want a snapshot", err, e.data)
					}
					if got, want := string(s.AppendJSON(nil)), r.carried(s); got != want {
						t.Fatalf("%s: got %.100q, want the plain protocol's %.100q", name(s), got, want)
					}
					if want := fmt.Sprintf("%s-%d", s.Epoch, s.Seq); e.id != want || !strings.Contains(names, e.name) {
						t.Fatalf("got event %q with id %q, want %q with %q", e.name, e.id, names, want)
					}
					if name(s) == last {
						return
					}
				}
			}
			for range 100 {
				u := r.next(t)
				h.Broadcast(u)
				upTo(quick, name(u.Snapshot))
			}
			for seq := uint64(1); gauge(t, reg, "sightglass_clients_behind") == 0; seq++ {
				u := r.next(t)
				h.Broadcast(u)
				upTo(quick, name(u.Snapshot))
			}
			for range 20 { // the slow client is in the middle of a frame, and must skip to the last of these frames
				h.Broadcast(r.next(t))
			}
			last := r.next(t)
			h.Broadcast(last)
			upTo(slow, name(last.Snapshot))
			if gauge(t, reg, "sightglass_client_skipped_total") == 0 {
				t.Error("got every snapshot at the slow client, want some skipped")
			}
			if query == "delta" && seen["delta"] < seen["keyframe"] {
				t.Errorf("got %v, want more deltas than keyframes", seen)
			}
		})
	}
}

func TestEvents_RejectionsAreHTTPErrors(t *testing.T) {
	for name, c := range map[string]struct {
		perAddress, inAll, want int
		retryAfter              string
	}{
		"too many from the address": {1, 100, http.StatusTooManyRequests, "60"},
		"edge full":                 {100, 1, http.StatusServiceUnavailable, "1"},
	} {
		t.Run(name, func(t *testing.T) {
			o := patient()
			o.MaxPerAddress, o.MaxClients = c.perAddress, c.inAll
			h, _, _ := serve(t, o)
			addr := serveEvents(t, h)
			h.Broadcast(frame(t, 1, 0))
			first := dialEvents(t, addr, "", false)
			if _, err := first.next(t); err != nil {
				t.Fatal(err)
			}
			second := dialEvents(t, addr, "", false)
			body, err := io.ReadAll(second.body)
			if err != nil {
				t.Fatal(err)
			}
			want := fmt.Sprintf(`{"error":{"code":%d,`, c.want)
			if second.response.StatusCode != c.want || second.response.Header.Get("Retry-After") != c.retryAfter || !strings.HasPrefix(string(body), want) {
				t.Errorf("got %s, Retry-After %q, %s; want %d, %q, %s", second.response.Status,
					second.response.Header.Get("Retry-After"), body, c.want, c.retryAfter, want)
			}
			first.Close()
			edgetest.Until(t, "the first to leave", func() bool { return h.Len() == 0 })
			if _, err := dialEvents(t, addr, "", false).next(t); err != nil {
				t.Errorf("after the first left: got %v, want a stream", err)
			}
		})
	}
}

func TestEvents_DrainSendsReason(t *testing.T) {
	h, _, reg := serve(t, patient())
	c := dialEvents(t, serveEvents(t, h), "", false)
	edgetest.Until(t, "the client to join", func() bool { return h.Len() == 1 })
	go h.Drain(0, time.Minute)
	e, err := c.next(t)
	if want := `{"code":1001,"reason":"edge is draining, please reconnect"}`; err != nil || e.name != "close" || e.data != want {
		t.Errorf("got %+v, %v, want a close event with %s", e, err, want)
	}
	if _, err := c.next(t); !errors.Is(err, io.EOF) {
		t.Errorf("after the close event: got %v, want the end", err)
	}
	c.Close()
	expectClosed(t, reg, "1001")
}

func TestEvents_LimitsApply(t *testing.T) {
	t.Run("accepts nothing", func(t *testing.T) {
		o := patient()
		o.WriteTimeout = 100 * time.Millisecond
		h, _, reg := serve(t, o)
		dialEvents(t, serveEvents(t, h), "", false)
		edgetest.Until(t, "the client to join", func() bool { return h.Len() == 1 })
		for seq := uint64(1); h.Len() > 0; seq++ {
			h.Broadcast(frame(t, seq, 1000))
		}
		expectClosed(t, reg, "4008")
	})
	t.Run("sends endlessly", func(t *testing.T) {
		h, _, reg := serve(t, patient())
		c := dialEvents(t, serveEvents(t, h), "", false)
		go io.Copy(c.Conn, strings.NewReader(strings.Repeat("x", 1<<20))) //nolint:errcheck // the connection is closed
		expectClosed(t, reg, "1008")
	})
	t.Run("closes", func(t *testing.T) {
		h, _, reg := serve(t, patient())
		dialEvents(t, serveEvents(t, h), "", false).Close()
		expectClosed(t, reg, "left")
	})
	t.Run("is silent and stays", func(t *testing.T) {
		o := patient()
		o.PingInterval = 50 * time.Millisecond
		h, _, _ := serve(t, o)
		c := dialEvents(t, serveEvents(t, h), "", false)
		edgetest.Until(t, "the client to join", func() bool { return h.Len() == 1 })
		go func() { // a WebSocket client without pongs would be closed by the third
			edgetest.Until(t, "four pings", func() bool { return c.comments.Load() >= 4 })
			h.Broadcast(frame(t, 1, 0))
		}()
		if e, err := c.next(t); err != nil || e.id != "1-1" {
			t.Errorf("got %+v, %v, want a snapshot", e, err)
		}
	})
}
