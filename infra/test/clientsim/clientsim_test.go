package clientsim_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/coder/websocket"
	"go.uber.org/goleak"

	"sightglass/infra/test/clientsim"
	"sightglass/infra/test/internal/programs"
	"sightglass/shared/contract"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

func keyframe(epoch contract.Epoch, seq uint64) []byte {
	s := contract.Snapshot{Status: contract.Live, Epoch: epoch, Seq: seq}
	return s.AppendKeyframe(nil)
}

// serve runs a server whose n-th request is served by the n-th handler, and later requests by the last.
func serve(t *testing.T, handlers ...func(http.ResponseWriter, *http.Request)) string {
	t.Helper()
	var requests atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handlers[min(int(requests.Add(1)), len(handlers))-1](w, r)
	}))
	t.Cleanup(server.Close)
	return strings.Replace(server.URL, "http", "ws", 1)
}

// sendAndClose returns a handler that accepts a WebSocket, sends messages and closes the connection with a code.
func sendAndClose(t *testing.T, code websocket.StatusCode, messages ...[]byte) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, r *http.Request) {
		conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"sightglass.delta.v1"}})
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.CloseNow()
		for _, message := range messages {
			if err := conn.Write(r.Context(), websocket.MessageText, message); err != nil {
				t.Error(err)
				return
			}
		}
		conn.Close(code, "")
	}
}

// follow runs one client until an edge forbids it to reconnect.
func follow(t *testing.T, url string) *clientsim.Clients {
	t.Helper()
	c := clientsim.Start(clientsim.Options{URL: url, Clients: 1})
	t.Cleanup(c.Stop)
	programs.Until(t, "the client to give up", func() bool { return c.Summary().GivenUp == 1 })
	return c
}

// TestClients_Seen: two connections bring snapshots in and out of order, with a failed attempt between them.
func TestClients_Seen(t *testing.T) {
	busy := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }
	for name, c := range map[string]struct {
		second []byte
		older  int
	}{
		"same snapshot": {keyframe("5", 10), 0},
		"newer seq":     {keyframe("5", 11), 0},
		"later epoch":   {keyframe("6", 1), 0},
		"older seq":     {keyframe("5", 9), 1},
		"earlier epoch": {keyframe("4", 11), 1},
	} {
		t.Run(name, func(t *testing.T) {
			clients := follow(t, serve(t, sendAndClose(t, websocket.StatusGoingAway, keyframe("5", 10)), busy,
				sendAndClose(t, websocket.StatusPolicyViolation, c.second)))
			seen := clients.Seen()[0]
			if seen.Older != c.older || seen.Disordered != 0 || seen.Reconnects != 1 || seen.Gap <= 0 || seen.Silence < seen.Gap {
				t.Errorf("got %+v, want %d older, none out of order, 1 reconnect, a gap, no shorter silence", seen, c.older)
			}
			ends := clients.Summary().Ends
			if ends["closed with 1001"] != 1 || ends["answered 503"] != 1 || ends["closed with 1008"] != 1 || len(ends) != 3 {
				t.Errorf("ends %v, want one each of closed with 1001, answered 503 and closed with 1008", ends)
			}
		})
	}
}

// TestClients_InvalidDelta: an invalid delta ends the connection; the next connection starts with a keyframe.
func TestClients_InvalidDelta(t *testing.T) {
	gap := (&contract.Delta{Seq: 12, Status: contract.Live}).AppendJSON(nil)
	clients := follow(t, serve(t, sendAndClose(t, websocket.StatusGoingAway, keyframe("5", 10), gap),
		sendAndClose(t, websocket.StatusPolicyViolation, keyframe("5", 13))))
	if seen := clients.Seen()[0]; seen.Seq != 13 || seen.Older != 0 || clients.Summary().Ends["invalid message"] != 1 {
		t.Errorf("got %+v, %v", seen, clients.Summary())
	}
}
