package e2e

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/redis/go-redis/v9"

	"sightglass/edge"
	"sightglass/edge/hub"
	"sightglass/infra/test/internal/programs"
	"sightglass/infra/test/internal/redistest"
	"sightglass/infra/test/internal/wstest"
	"sightglass/shared/contract"
)

// TestDelta_RebuildsPlainStream: on real transactions, a delta client rebuilds the plain protocol's bytes at each seq,
// and nearly all of its messages are deltas that fit one segment.
func TestDelta_RebuildsPlainStream(t *testing.T) {
	env := start(t, 1)
	plain, delta := dial(t, env.edges[0], source(0)), dialDelta(t, env.edges[0])
	want, replica := make(map[uint64]string), new(contract.Replica)
	compared, deltas := 0, 0
	for compared < 10 {
		data, err := wstest.Read(t.Context(), plain)
		if err != nil {
			t.Fatal(err)
		}
		s, err := contract.DecodeSnapshot(data)
		if err != nil {
			t.Fatal(err)
		}
		want[s.Seq] = string(data)
		message, err := wstest.Read(t.Context(), delta)
		if err != nil {
			t.Fatal(err)
		}
		got, err := replica.Apply(message)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(string(message), `{"type":"delta"`) && len(message) <= 1400 {
			deltas++
		}
		if plain, ok := want[got.Seq]; ok {
			compared++
			if string(got.AppendJSON(nil)) != plain {
				t.Errorf("seq %d: got %.200s, want the plain stream's %.200s", got.Seq, got.AppendJSON(nil), plain)
			}
		}
	}
	if deltas < compared-3 {
		t.Errorf("got %d small deltas among %d messages, want more", deltas, compared)
	}
}

func dialDelta(t testing.TB, e *edge.Edge) *websocket.Conn {
	t.Helper()
	return wstest.MustDial(t, wstest.URL(e.Addr().String()), nil, websocket.DialOptions{
		Subprotocols: []string{hub.DeltaProtocol}, CompressionMode: websocket.CompressionNoContextTakeover,
	})
}

// TestEdge_HungRedisMakesSnapshotsStale: Redis accepts connections and answers nothing. Clients get one stale snapshot,
// and live ones after Redis continues.
func TestEdge_HungRedisMakesSnapshotsStale(t *testing.T) {
	server := redistest.Start(t)
	e := edgeWith(t, server, unchanged)
	client := server.Client()
	v := view(t, e, source(0))
	publishUntilSeen(t, client, v, 10)
	server.Pause()
	s, err := v.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if s.Status != contract.Stale || s.Seq != 10 {
		t.Errorf("got seq %d, %s, want the last one, stale", s.Seq, s.Status)
	}
	programs.Until(t, "the edge to be not ready", func() bool { code, _ := get(t, e, "/readyz"); return code == http.StatusServiceUnavailable })
	var health struct{ Status string }
	if getJSON(t, e, "/health", &health); health.Status != "degraded" {
		t.Errorf("/health: got %s, want degraded", health.Status)
	}
	server.Resume()
	publishUntilSeen(t, client, v, 11)
	programs.Until(t, "the edge to be ready", func() bool { code, _ := get(t, e, "/readyz"); return code == http.StatusOK })
}

// publishUntilSeen publishes a snapshot repeatedly, as the edge may not have subscribed yet. The edge relays it once.
func publishUntilSeen(t *testing.T, client *redis.Client, v *wstest.Viewer, seq uint64) {
	t.Helper()
	ctx, seen := context.WithCancel(t.Context())
	defer seen()
	go func() {
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			client.Publish(ctx, contract.Channel, encode("5", seq)) // repeated if it fails
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
	}()
	if err := v.Until(t.Context(), time.Minute, func(s *contract.Snapshot) bool { return s.Seq == seq && s.Status == contract.Live }); err != nil {
		t.Fatal(err)
	}
}

// TestDrain_ReportsNotReadyBeforeClosing: first the edge is not ready and rejects new clients, while connected clients
// get every snapshot; then it closes them.
func TestDrain_ReportsNotReadyBeforeClosing(t *testing.T) {
	server := redistest.Start(t)
	o := edge.Defaults()
	o.Listen, o.Redis, o.Log = "127.0.0.1:0", server.URL(), quiet(t)
	e, err := edge.New(o) // with the default delay
	if err != nil {
		t.Fatal(err)
	}
	ctx, terminate := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- e.Run(ctx) }()
	client := server.Client()
	v := view(t, e, source(0))
	publishUntilSeen(t, client, v, 10)
	terminate()
	programs.Until(t, "the edge to be not ready", func() bool { code, _ := get(t, e, "/readyz"); return code == http.StatusServiceUnavailable })
	_, answer, err := wstest.Dial(t, wstest.URL(e.Addr().String()), nil, websocket.DialOptions{})
	if err == nil || answer.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("a new client: got %v, want 503", answer)
	}
	publishUntilSeen(t, client, v, 11)
	for err = nil; err == nil; {
		_, err = v.Next(t.Context())
	}
	if code := websocket.CloseStatus(err); code != websocket.StatusGoingAway {
		t.Errorf("got close error %v, want 1001", err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// TestHandshake_Responses: an invalid handshake gets the status of its error, and its connection is not counted.
func TestHandshake_Responses(t *testing.T) {
	server := redistest.Start(t)
	e := edgeWith(t, server, unchanged)
	const good = "GET /ws/mempool HTTP/1.1\nHost: x\nUpgrade: websocket\nConnection: keep-alive, Upgrade\n" +
		"Sec-WebSocket-Version: 13\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\n"
	for name, c := range map[string]struct {
		old, new string
		want     int
		header   string // that the response must have
	}{
		"valid":               {"", "", http.StatusSwitchingProtocols, "Sec-Websocket-Accept: ICX+Yqv66kxgM0FcWaLWlFLwTAI="},
		"lower case":          {"Upgrade: websocket", "upgrade: WebSocket", http.StatusSwitchingProtocols, ""},
		"no upgrade":          {"Upgrade: websocket\n", "", http.StatusUpgradeRequired, "Upgrade: websocket"},
		"no connection":       {"Connection: keep-alive, Upgrade\n", "", http.StatusUpgradeRequired, "Upgrade: websocket"},
		"another protocol":    {"Upgrade: websocket", "Upgrade: h2c", http.StatusUpgradeRequired, "Upgrade: websocket"},
		"an old version":      {"Version: 13", "Version: 8", http.StatusUpgradeRequired, "Sec-Websocket-Version: 13"},
		"no version":          {"Sec-WebSocket-Version: 13\n", "", http.StatusUpgradeRequired, "Sec-Websocket-Version: 13"},
		"no key":              {"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\n", "", http.StatusBadRequest, ""},
		"a short key":         {"AAAAAAAAAAAAAAAAAAAAAA==", "AAAA", http.StatusBadRequest, ""},
		"a key not in base64": {"AAAAAAAAAAAAAAAAAAAAAA==", "????????????????????????", http.StatusBadRequest, ""},
		"HTTP/1.0":            {"HTTP/1.1", "HTTP/1.0", http.StatusBadRequest, ""},
		"HEAD":                {"GET", "HEAD", http.StatusBadRequest, ""},
		"POST":                {"GET", "POST", http.StatusMethodNotAllowed, ""},

		// Lists: order, lines and case of their elements make no difference.
		"keep-alive first":          {"keep-alive, Upgrade", "keep-alive\nConnection: Upgrade", http.StatusSwitchingProtocols, "Upgrade: websocket"},
		"keep-alive last":           {"keep-alive, Upgrade", "Upgrade\nConnection: keep-alive", http.StatusSwitchingProtocols, "Upgrade: websocket"},
		"a third line":              {"keep-alive, Upgrade", "keep-alive\nConnection: TE, uPGRADE\nConnection: x", http.StatusSwitchingProtocols, "Connection: Upgrade"},
		"an empty line first":       {"keep-alive, Upgrade", "\nConnection: ,, Upgrade,", http.StatusSwitchingProtocols, "Upgrade: websocket"},
		"another case":              {"keep-alive, Upgrade", "KEEP-ALIVE, UPGRADE", http.StatusSwitchingProtocols, ""},
		"close last":                {"keep-alive, Upgrade", "Upgrade\nConnection: close", http.StatusUpgradeRequired, "Connection: close"},
		"no Upgrade in either line": {"keep-alive, Upgrade", "keep-alive\nConnection: x-Upgrade", http.StatusUpgradeRequired, "Upgrade: websocket"},
		"two lines of Upgrade":      {"Upgrade: websocket", "Upgrade: h2c\nUpgrade: WebSocket", http.StatusSwitchingProtocols, "Upgrade: websocket"},
		"two lines of protocols":    {"Host: x\n", "Host: x\nSec-WebSocket-Protocol: foo\nSec-WebSocket-Protocol: bar, sightglass.delta.v1\n", http.StatusSwitchingProtocols, "Sec-Websocket-Protocol: sightglass.delta.v1"},
		"unknown protocols":         {"Host: x\n", "Host: x\nSec-WebSocket-Protocol: foo\nSec-WebSocket-Protocol: sightglass.delta.v1x\n", http.StatusSwitchingProtocols, "Sec-Websocket-Accept: ICX+Yqv66kxgM0FcWaLWlFLwTAI="},
		"two keys":                  {"Host: x\n", "Host: x\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\n", http.StatusBadRequest, ""},
		"two versions":              {"Host: x\n", "Host: x\nSec-WebSocket-Version: 13\n", http.StatusBadRequest, ""},

		"no Host":       {"Host: x\n", "", http.StatusBadRequest, "Connection: close"},
		"two Hosts":     {"Host: x\n", "Host: x\nHOST: x\n", http.StatusBadRequest, "Connection: close"},
		"an empty Host": {"Host: x\n", "Host:\n", http.StatusSwitchingProtocols, ""},

		"the delta protocol": {"Host: x\n", "Host: x\nSec-WebSocket-Protocol: foo, sightglass.delta.v1\n", http.StatusSwitchingProtocols, "Sec-Websocket-Protocol: sightglass.delta.v1"},
		"deflate":            {"Host: x\n", "Host: x\nSec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\n", http.StatusSwitchingProtocols, "Sec-Websocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover"},
	} {
		t.Run(name, func(t *testing.T) {
			request := strings.Replace(good, c.old, c.new, 1) + "\n"
			got, err := rawAnswer(e.Addr(), strings.ReplaceAll(request, "\n", "\r\n"))
			if err != nil {
				t.Fatal(err)
			}
			if want := fmt.Sprintf("HTTP/1.1 %d ", c.want); !strings.HasPrefix(got, want) || !strings.Contains(got, c.header+"\r\n") {
				t.Errorf("got %q, want %d with %q", got, c.want, c.header)
			}
		})
	}
	programs.Until(t, "all clients to leave", func() bool { return e.Clients() == 0 })
}

// rawAnswer sends a request and returns the head of the response.
func rawAnswer(addr net.Addr, request string) (head string, err error) {
	conn, err := net.Dial("tcp", addr.String())
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, request); err != nil {
		return "", err
	}
	in := bufio.NewReader(conn)
	for !strings.HasSuffix(head, "\r\n\r\n") {
		line, err := in.ReadString('\n')
		if err != nil {
			return head, errors.Join(err, conn.Close())
		}
		head += line
	}
	return head, nil
}
