package client

import (
	"context"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"sightglass/shared/contract"
)

// soon reconnects at once and pings after a short time. The limit for a pong is long, as the machine may be busy.
func soon() timing {
	return timing{
		handshake: time.Minute, ping: time.Millisecond, pong: time.Minute, good: time.Hour, backoff: func(int) time.Duration { return 0 },
	}
}

func numbered(epoch contract.Epoch, seq uint64, status contract.Status) *contract.Snapshot {
	return &contract.Snapshot{Status: status, Epoch: epoch, Seq: seq}
}

func keyframe(epoch contract.Epoch, seq uint64) []byte {
	return numbered(epoch, seq, contract.Live).AppendKeyframe(nil)
}

func delta(seq uint64) []byte {
	return (&contract.Delta{Seq: seq, Status: contract.Live}).AppendJSON(nil)
}

// A turn serves one connection.
type turn func(t *testing.T, w http.ResponseWriter, r *http.Request)

// serve runs an edge that serves its connections with the turns, one after the other, and those after the last one with
// the last. It returns the URL.
func serve(t *testing.T, turns ...turn) string {
	t.Helper()
	var n atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		turns[min(int(n.Add(1)), len(turns))-1](t, w, r)
	}))
	t.Cleanup(server.Close)
	return strings.Replace(server.URL, "http", "ws", 1) + "/ws/mempool"
}

// accept makes a turn that accepts the connection and calls f.
func accept(f func(ctx context.Context, conn *websocket.Conn) error) turn {
	return func(t *testing.T, w http.ResponseWriter, r *http.Request) {
		conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{protocol}})
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.CloseNow()
		if err := f(r.Context(), conn); err != nil {
			t.Error(err)
		}
	}
}

// send makes a turn that sends messages and closes with a code.
func send(code websocket.StatusCode, messages ...[]byte) turn {
	return accept(func(ctx context.Context, conn *websocket.Conn) error {
		for _, message := range messages {
			if err := conn.Write(ctx, websocket.MessageText, message); err != nil {
				return err
			}
		}
		conn.Close(code, "")
		return nil
	})
}

// last makes a turn with a close code after which the client does not reconnect.
func last(messages ...[]byte) turn { return send(websocket.StatusPolicyViolation, messages...) }

// A record has the events of a client.
type record struct {
	received, delivered []string // "epoch/seq status"
	reasons             []error
	waits               []time.Duration
	err                 error // of Run
}

func label(s *contract.Snapshot) string { return fmt.Sprintf("%s/%d %s", s.Epoch, s.Seq, s.Status) }

// follow runs a client until a close code ends it.
func follow(t *testing.T, url string, change func(*timing)) *record {
	t.Helper()
	r, timing := &record{}, soon()
	if change != nil {
		change(&timing)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // in case the test hangs
	defer cancel()
	r.err = run(ctx, Options{
		URL:      url,
		Received: func(s *contract.Snapshot) { r.received = append(r.received, label(s)) },
		Disconnected: func(reason error, retryIn time.Duration) {
			r.reasons, r.waits = append(r.reasons, reason), append(r.waits, retryIn)
		},
	}, timing, func(s *contract.Snapshot) { r.delivered = append(r.delivered, label(s)) })
	if websocket.CloseStatus(r.err) != websocket.StatusPolicyViolation {
		t.Fatalf("got error %v, want the close code 1008; disconnected by %v", r.err, r.reasons)
	}
	return r
}

// TestRun_DeliversEveryStatus: one that this version does not know is passed on and ends no connection.
func TestRun_DeliversEveryStatus(t *testing.T) {
	messages := [][]byte{keyframe("5", 1)}
	want := []string{"5/1 live"}
	for i, status := range []contract.Status{contract.Contested, "half_open", contract.Live} {
		d := contract.Delta{Seq: uint64(i + 2), Status: status}
		messages = append(messages, d.AppendJSON(nil))
		want = append(want, fmt.Sprintf("5/%d %s", i+2, status))
	}
	if r := follow(t, serve(t, last(messages...)), nil); !slices.Equal(r.received, want) || len(r.reasons) > 0 {
		t.Errorf("got received %v, disconnected by %v; want %v and one connection", r.received, r.reasons, want)
	}
}

func TestRun_ReconnectsUnlessCodeForbids(t *testing.T) {
	for _, code := range []websocket.StatusCode{1000, 1001, 1010, 1011, 1012, 1013, 1014, 3000, 4000, 4008, 4030, 4999} {
		t.Run(fmt.Sprint(code), func(t *testing.T) {
			r := follow(t, serve(t, send(code, keyframe("5", 10)), last(keyframe("5", 20), delta(21))), nil)
			if len(r.reasons) != 1 || websocket.CloseStatus(r.reasons[0]) != code {
				t.Errorf("got disconnected by %v, want once by code %d", r.reasons, code)
			}
			if want := []string{"5/10 live", "5/20 live", "5/21 live"}; !slices.Equal(r.received, want) {
				t.Errorf("got received %v, want %v", r.received, want)
			}
			if got := r.delivered; len(got) == 0 || got[len(got)-1] != "5/21 live" {
				t.Errorf("got delivered %v, want the last snapshot too", got)
			}
		})
	}
	for _, code := range []websocket.StatusCode{1002, 1003, 1007, 1008, 1009} {
		t.Run(fmt.Sprint(code), func(t *testing.T) {
			again := func(t *testing.T, _ http.ResponseWriter, _ *http.Request) { t.Error("got a reconnect, want none") }
			url := serve(t, send(code, keyframe("5", 10)), again)
			err := run(t.Context(), Options{URL: url}, soon(), func(*contract.Snapshot) {})
			if websocket.CloseStatus(err) != code {
				t.Errorf("got error %v, want the close code %d", err, code)
			}
		})
	}
}

// TestRun_FollowsKeyframeToLowerEpoch: within an epoch the order is kept.
func TestRun_FollowsKeyframeToLowerEpoch(t *testing.T) {
	r := follow(t, serve(t,
		send(websocket.StatusGoingAway, keyframe("6", 9), keyframe("5", 3), delta(4)),
		last(keyframe("5", 2)),
	), nil)
	if want := []string{"6/9 live", "5/3 live", "5/4 live", "5/2 live"}; !slices.Equal(r.received, want) {
		t.Errorf("got received %v, want %v", r.received, want)
	}
	if got := r.delivered; got[len(got)-1] != "5/4 live" {
		t.Errorf("got delivered %v, want 5/4 live last", got)
	}
}

// TestRun_BacksOff: each failure doubles the limit of the wait, and a stable connection resets it.
func TestRun_BacksOff(t *testing.T) {
	for name, c := range map[string]struct {
		first turn
		good  time.Duration
		want  []int
	}{
		"snapshots for too short a time":     {send(websocket.StatusGoingAway, keyframe("5", 10)), time.Hour, []int{0, 1, 2, 3}},
		"snapshots for long enough":          {send(websocket.StatusGoingAway, keyframe("5", 10)), 1, []int{0, 1, 0, 1}},
		"a connection without any snapshots": {send(websocket.StatusGoingAway), 1, []int{0, 1, 2, 3}},
	} {
		t.Run(name, func(t *testing.T) {
			var got []int
			busy := status(http.StatusServiceUnavailable)
			follow(t, serve(t, c.first, busy, c.first, busy, last(keyframe("5", 20))), func(timing *timing) {
				timing.good = c.good
				timing.backoff = func(failures int) time.Duration { got = append(got, failures); return 0 }
			})
			if !slices.Equal(got, c.want) {
				t.Errorf("got waits after %v failures, want %v", got, c.want)
			}
		})
	}
}

// TestRun_WaitsAMinuteAfter4029 cancels the client while it waits.
func TestRun_WaitsAMinuteAfter4029(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var waits []time.Duration
	err := run(ctx, Options{
		URL:          serve(t, send(codeTooManyConnections)),
		Disconnected: func(_ error, retryIn time.Duration) { waits = append(waits, retryIn); cancel() },
	}, soon(), func(*contract.Snapshot) {})
	if !slices.Equal(waits, []time.Duration{time.Minute}) || !errors.Is(err, context.Canceled) {
		t.Errorf("got waits %v and error %v, want one wait of a minute and context.Canceled", waits, err)
	}
}

// TestRun_DropsConnectionAfterProtocolError: the client then reconnects, as the next edge may work.
func TestRun_DropsConnectionAfterProtocolError(t *testing.T) {
	text := func(message string) turn {
		return accept(func(ctx context.Context, conn *websocket.Conn) error {
			conn.Write(ctx, websocket.MessageText, keyframe("5", 10)) //nolint:errcheck // the client may have disconnected
			conn.Write(ctx, websocket.MessageText, []byte(message))   //nolint:errcheck // the client may have disconnected
			conn.Read(ctx)                                            //nolint:errcheck // until the client disconnects
			return nil
		})
	}
	for name, c := range map[string]struct {
		bad  turn
		want error // nil: any
	}{
		"no JSON":          {text("hello"), contract.ErrInvalidSnapshot},
		"an empty message": {text(""), contract.ErrInvalidSnapshot},
		"no UTF-8":         {text("{\"type\":\"\xff\"}"), contract.ErrInvalidSnapshot},
		"another type":     {text(`{"type":"pong"}`), contract.ErrInvalidSnapshot},
		"no type":          {text(string(numbered("5", 11, contract.Live).AppendJSON(nil))), contract.ErrInvalidSnapshot},
		"half a keyframe":  {text(`{"type":"keyframe","price":1}`), contract.ErrInvalidSnapshot},
		"a gap":            {text(string(delta(12))), contract.ErrInvalidSnapshot},
		"a repetition":     {text(string(delta(10))), contract.ErrInvalidSnapshot},
		"a delta first":    {send(websocket.StatusGoingAway, delta(10)), contract.ErrInvalidSnapshot},
		"over 1 MiB":       {text(strings.Repeat(" ", maxMessage) + string(delta(11))), websocket.ErrMessageTooBig},
		"binary": {accept(func(ctx context.Context, conn *websocket.Conn) error {
			conn.Write(ctx, websocket.MessageBinary, keyframe("5", 10)) //nolint:errcheck // the client may have disconnected
			conn.Read(ctx)                                              //nolint:errcheck // until the client disconnects
			return nil
		}), contract.ErrInvalidSnapshot},
		"cut off":  {accept(func(context.Context, *websocket.Conn) error { return nil }), nil},
		"no frame": {raw(strings.Repeat("\xff", 20)), nil},
	} {
		t.Run(name, func(t *testing.T) {
			r := follow(t, serve(t, c.bad, last(keyframe("5", 11))), nil)
			if len(r.reasons) != 1 || c.want != nil && !errors.Is(r.reasons[0], c.want) {
				t.Errorf("got disconnected by %v, want once by %v", r.reasons, c.want)
			}
			if got := r.delivered; got[len(got)-1] != "5/11 live" || r.received[len(r.received)-1] != "5/11 live" {
				t.Errorf("got received %v and delivered %v, want the next connection's snapshot last", r.received, got)
			}
		})
	}
}

// raw makes a turn that accepts, sends bytes, which may be no frames, and then reads to the end without a response.
func raw(bytes string) turn {
	return func(t *testing.T, w http.ResponseWriter, r *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		accepted := sha1.Sum([]byte(r.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11")) // RFC 6455
		fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
			"Sec-WebSocket-Accept: %s\r\nSec-WebSocket-Protocol: %s\r\n\r\n%s",
			base64.StdEncoding.EncodeToString(accepted[:]), protocol, bytes)
		io.Copy(io.Discard, conn) //nolint:errcheck // it ends when the client disconnects
	}
}

// frame returns a text message in one frame.
func frame(message []byte) string {
	return "\x81\x7e" + string(binary.BigEndian.AppendUint16(nil, uint16(len(message)))) + string(message)
}

// TestRun_DropsSilentConnection: the edge answers no ping within the time limit for a pong.
func TestRun_DropsSilentConnection(t *testing.T) {
	for name, silent := range map[string]turn{
		"from the start":       raw(""),
		"after a keyframe":     raw(frame(keyframe("5", 10))),
		"in a message":         raw(frame(keyframe("5", 10))[:20]),
		"in a fragment's head": raw(frame(keyframe("5", 10))[:1]),
	} {
		t.Run(name, func(t *testing.T) {
			r := follow(t, serve(t, silent, last(keyframe("5", 11))), func(timing *timing) { timing.pong = 50 * time.Millisecond })
			if len(r.reasons) != 1 || !errors.Is(r.reasons[0], ErrSilent) {
				t.Errorf("got disconnected by %v, want once by silence", r.reasons)
			}
		})
	}
}

// TestRun_KeepsQuietConnectionThatAnswers: an edge without new snapshots answers pings, so the client does not
// reconnect.
func TestRun_KeepsQuietConnectionThatAnswers(t *testing.T) {
	pings := make(chan struct{}, 100)
	quiet := func(t *testing.T, w http.ResponseWriter, r *http.Request) {
		conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{
			Subprotocols:   []string{protocol},
			OnPingReceived: func(context.Context, []byte) bool { pings <- struct{}{}; return true },
		})
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.CloseNow()
		conn.CloseRead(r.Context()) // answers pings
		for _, message := range [][]byte{keyframe("5", 10), delta(11)} {
			for range 5 {
				<-pings
			}
			if err := conn.Write(r.Context(), websocket.MessageText, message); err != nil {
				t.Error(err)
			}
		}
		conn.Close(websocket.StatusPolicyViolation, "")
	}
	r := follow(t, serve(t, quiet), nil)
	if want := []string{"5/10 live", "5/11 live"}; len(r.reasons) != 0 || !slices.Equal(r.received, want) {
		t.Errorf("got disconnected by %v and received %v, want %v by one connection", r.reasons, r.received, want)
	}
}

func TestRun_RetriesFailedHandshake(t *testing.T) {
	for name, c := range map[string]struct {
		bad    turn
		status int
	}{
		"403": {status(http.StatusForbidden), http.StatusForbidden},
		"404": {status(http.StatusNotFound), http.StatusNotFound},
		"429": {status(http.StatusTooManyRequests), http.StatusTooManyRequests},
		"503": {status(http.StatusServiceUnavailable), http.StatusServiceUnavailable},
		"200": {status(http.StatusOK), http.StatusOK},
		"without the protocol": {func(t *testing.T, w http.ResponseWriter, r *http.Request) {
			conn, err := websocket.Accept(w, r, nil)
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.CloseNow()
			conn.Read(r.Context()) //nolint:errcheck // until the client disconnects
		}, http.StatusSwitchingProtocols},
		"no HTTP": {func(t *testing.T, w http.ResponseWriter, _ *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			fmt.Fprint(conn, "hello\r\n")
			conn.Close()
		}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			r := follow(t, serve(t, c.bad, last(keyframe("5", 10))), nil)
			handshake, ok := errors.AsType[*HandshakeError](r.reasons[0])
			if len(r.reasons) != 1 || !ok || handshake.Status != c.status {
				t.Errorf("got disconnected by %v, want once by a handshake with status %d", r.reasons, c.status)
			}
		})
	}
}

func status(code int) turn {
	return func(_ *testing.T, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

// TestRun_HandshakeTimesOut: the server accepts the connection and sends nothing.
func TestRun_HandshakeTimesOut(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0") // the kernel accepts
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	ctx, cancel := context.WithCancel(t.Context())
	timing := soon()
	timing.handshake = 50 * time.Millisecond
	var reason error
	err = run(ctx, Options{
		URL:          "ws://" + listener.Addr().String(),
		Disconnected: func(err error, _ time.Duration) { reason = err; cancel() },
	}, timing, func(*contract.Snapshot) {})
	handshake, ok := errors.AsType[*HandshakeError](reason)
	if !ok || handshake.Status != 0 || !errors.Is(reason, context.DeadlineExceeded) || !errors.Is(err, context.Canceled) {
		t.Errorf("got disconnected by %v and error %v, want a handshake timeout and context.Canceled", reason, err)
	}
}

func TestRun_RejectsInvalidURL(t *testing.T) {
	for url, want := range map[string]string{
		"":                         "ws://",
		"127.0.0.1:8080/ws":        "URL",
		"localhost:8080/ws":        "ws://",
		"redis://127.0.0.1/":       "ws://",
		"ws:///ws/mempool":         "no host",
		"ws://127.0.0.1:x/":        "invalid port",
		"edge.example/ws/mempool":  "ws://",
		"ws://edge.example/\x7fws": "invalid control character",
	} {
		err := Run(t.Context(), Options{URL: url}, func(*contract.Snapshot) {})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want an error with %q", url, err, want)
		}
	}
}

// TestRun_EndsWithContext: in every state of the client.
func TestRun_EndsWithContext(t *testing.T) {
	for name, edge := range map[string]turn{
		"before the first snapshot": raw(""),
		"after a snapshot":          raw(frame(keyframe("5", 10))),
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			connected := make(chan struct{})
			url := serve(t, func(t *testing.T, w http.ResponseWriter, r *http.Request) {
				close(connected)
				edge(t, w, r)
			})
			go func() { <-connected; cancel(errors.New("over")) }()
			if err := Run(ctx, Options{URL: url}, func(*contract.Snapshot) {}); err == nil || err.Error() != "over" {
				t.Errorf("got error %v, want the context's cause", err)
			}
		})
	}
}
