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

// serve runs a server whose n-th visitor (from 0) is served by the n-th of the turns, and later ones by the last.
func serve(t *testing.T, turns ...func(http.ResponseWriter, *http.Request)) string {
	t.Helper()
	var visits atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		turns[min(int(visits.Add(1)), len(turns))-1](w, r)
	}))
	t.Cleanup(server.Close)
	return strings.Replace(server.URL, "http", "ws", 1)
}

// say makes a turn that sends messages and closes.
func say(t *testing.T, code websocket.StatusCode, messages ...[]byte) func(http.ResponseWriter, *http.Request) {
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

func follow(t *testing.T, url string) *clientsim.Clients {
	t.Helper()
	c := clientsim.Start(clientsim.Options{URL: url, Clients: 1})
	t.Cleanup(c.Stop)
	programs.Until(t, "the client to give up", func() bool { return c.Summary().GivenUp == 1 })
	return c
}

// TestClients_Measure: the connections bring what no edge may send, and what every edge may.
func TestClients_Measure(t *testing.T) {
	busy := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }
	for name, c := range map[string]struct {
		second []byte
		older  int
	}{
		"the same again":     {keyframe("5", 10), 0},
		"a newer one":        {keyframe("5", 11), 0},
		"a later epoch's":    {keyframe("6", 1), 0},
		"an older one":       {keyframe("5", 9), 1},
		"an earlier epoch's": {keyframe("4", 11), 1},
	} {
		t.Run(name, func(t *testing.T) {
			clients := follow(t, serve(t, say(t, websocket.StatusGoingAway, keyframe("5", 10)), busy,
				say(t, websocket.StatusPolicyViolation, c.second)))
			one := clients.Seen()[0]
			if one.Older != c.older || one.Disordered != 0 || one.Reconnects != 1 || one.Gap <= 0 || one.Silence < one.Gap {
				t.Errorf("got %+v, want %d older, none out of order, 1 reconnect, a gap, no shorter silence", one, c.older)
			}
			ends := clients.Summary().Ends
			if ends["closed with 1001"] != 1 || ends["answered 503"] != 1 || ends["closed with 1008"] != 1 || len(ends) != 3 {
				t.Errorf("the connections ended so: %v", ends)
			}
		})
	}
}

// TestClients_MeasureAWrongDelta, which ends the connection; the next one begins with a keyframe.
func TestClients_MeasureAWrongDelta(t *testing.T) {
	gap := (&contract.Delta{Seq: 12, Status: contract.Live}).AppendJSON(nil)
	clients := follow(t, serve(t, say(t, websocket.StatusGoingAway, keyframe("5", 10), gap),
		say(t, websocket.StatusPolicyViolation, keyframe("5", 13))))
	if one := clients.Seen()[0]; one.Seq != 13 || one.Older != 0 || clients.Summary().Ends["not as the protocol has it"] != 1 {
		t.Errorf("got %+v, %v", one, clients.Summary())
	}
}
