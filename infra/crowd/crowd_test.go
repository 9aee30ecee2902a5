package crowd_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/coder/websocket"
	"go.uber.org/goleak"

	"sightglass/infra/crowd"
	"sightglass/infra/internal/programs"
	"sightglass/shared/snapshot"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

func keyframe(epoch snapshot.Epoch, seq uint64) []byte {
	s := snapshot.Snapshot{Status: snapshot.Live, Epoch: epoch, Seq: seq}
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

func follow(t *testing.T, url string) *crowd.Crowd {
	t.Helper()
	c := crowd.Start(crowd.Options{URL: url, Clients: 1})
	t.Cleanup(c.Stop)
	programs.Until(t, "the client to be told for good", func() bool { return c.Summary().GivenUp == 1 })
	return c
}

// TestWhatAClientHasSeen: its connections bring what no edge may, and what every edge may.
func TestWhatAClientHasSeen(t *testing.T) {
	busy := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }
	for name, c := range map[string]struct {
		second []byte
		older  int
	}{
		"the same again":   {keyframe("5", 10), 0},
		"a newer one":      {keyframe("5", 11), 0},
		"a later reign's":  {keyframe("6", 1), 0},
		"an older one":     {keyframe("5", 9), 1},
		"an older reign's": {keyframe("4", 11), 1},
	} {
		t.Run(name, func(t *testing.T) {
			seen := follow(t, serve(t, say(t, websocket.StatusGoingAway, keyframe("5", 10)), busy,
				say(t, websocket.StatusPolicyViolation, c.second)))
			one := seen.Seen()[0]
			if one.Older != c.older || one.Reconnects != 1 || one.Gap <= 0 || one.Silence < one.Gap {
				t.Errorf("got %+v, want %d older, 1 reconnect, a gap, no shorter silence", one, c.older)
			}
			ends := seen.Summary().Ends
			if ends["closed with 1001"] != 1 || ends["answered 503"] != 1 || ends["closed with 1008"] != 1 || len(ends) != 3 {
				t.Errorf("its connections ended thus: %v", ends)
			}
		})
	}
}

// TestADeltaThatDoesNotFit ends the connection, and the next one begins anew.
func TestADeltaThatDoesNotFit(t *testing.T) {
	gap := (&snapshot.Delta{Seq: 12, Status: snapshot.Live}).AppendJSON(nil)
	seen := follow(t, serve(t, say(t, websocket.StatusGoingAway, keyframe("5", 10), gap),
		say(t, websocket.StatusPolicyViolation, keyframe("5", 13))))
	if one := seen.Seen()[0]; one.Seq != 13 || one.Older != 0 || seen.Summary().Ends["not as the protocol has it"] != 1 {
		t.Errorf("got %+v, %v", one, seen.Summary())
	}
}
