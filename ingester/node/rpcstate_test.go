package node

import (
	"testing"
	"time"

	"github.com/btcsuite/btcd/chaincfg/chainhash"

	"sightglass/ingester/transcript"
)

// TestRPCState_Transitions applies the events of an RPC to an rpcState, second by second.
func TestRPCState_Transitions(t *testing.T) {
	const limit = 30
	type step struct {
		at              int // seconds
		does            func(*rpcState, time.Time)
		defers, zmqOnly bool // from then on
	}
	start := time.Unix(1_700_000_000, 0)
	begin := func(r *rpcState, now time.Time) { r.request(now); r.restarted(now) }
	first := func(r *rpcState, now time.Time) { r.connected(now, false); r.request(now) }
	again := func(r *rpcState, now time.Time) { r.connected(now, true); r.request(now) }
	restarted := func(r *rpcState, now time.Time) { r.restarted(now); r.request(now) }
	answered := func(r *rpcState, _ time.Time) { r.responded() }
	asked := func(r *rpcState, now time.Time) { r.request(now) }
	nothing := func(*rpcState, time.Time) {}
	for name, steps := range map[string][]step{
		"a response within the limit": {
			{0, begin, true, false}, {1, first, true, false}, {29, answered, false, false}, {300, nothing, false, false},
		},
		"no response": {
			{0, begin, true, false}, {0, first, true, false}, {29, nothing, true, false}, {30, nothing, false, true},
			{900, nothing, false, true}, {901, answered, false, false},
		},
		"no response, and the node connects late": {
			{0, begin, true, false}, {29, first, true, false}, {58, nothing, true, false}, {59, nothing, false, true},
		},
		"no response, and the node connects after an hour": {
			{0, begin, true, false}, {30, nothing, false, true}, {3600, first, true, true}, {3629, nothing, true, true}, {3630, nothing, false, true},
		},
		"the node is starting for a long time": {
			{0, begin, true, false}, {1, first, true, false}, {20, (*rpcState).starting, true, false}, {45, (*rpcState).starting, true, false},
			{70, (*rpcState).starting, true, false}, {95, answered, false, false},
		},
		"the node is starting, and then does not respond": {
			{0, begin, true, false}, {20, (*rpcState).starting, true, false}, {49, nothing, true, false}, {50, nothing, false, true},
			{60, (*rpcState).starting, true, false}, {65, answered, false, false},
		},
		"RPC stops while in sync": {
			{0, begin, true, false}, {1, answered, false, false}, {100, asked, false, false}, {129, asked, false, false}, {130, nothing, false, true},
			{140, answered, false, false},
		},
		"a connection that is lost repeatedly": {
			{0, begin, true, false}, {0, first, true, false}, {20, again, true, false}, {30, nothing, false, true}, {40, again, false, true}, {60, again, false, true},
		},
		"the node restarts while RPC is down": {
			{0, begin, true, false}, {30, nothing, false, true}, {50, restarted, true, true}, {79, nothing, true, true}, {80, nothing, false, true},
		},
		"a connection that returns while in sync": {
			{0, begin, true, false}, {1, answered, false, false}, {100, again, true, false}, {101, answered, false, false},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var r rpcState
			failed := 0
			for now, i := 0, 0; i < len(steps); now++ {
				at := start.Add(time.Duration(now) * time.Second)
				for ; i < len(steps) && steps[i].at == now; i++ {
					steps[i].does(&r, at)
					if r.tick(at, limit*time.Second) {
						failed++
					}
					if r.defers() != steps[i].defers || r.zmqOnly != steps[i].zmqOnly {
						t.Fatalf("after %d s: got defers %v, ZMQ only %v; want %v, %v", now, r.defers(), r.zmqOnly, steps[i].defers, steps[i].zmqOnly)
					}
				}
				if r.tick(at, limit*time.Second) {
					failed++
				}
			}
			wantFailed := 0
			for i, s := range steps {
				if s.zmqOnly && (i == 0 || !steps[i-1].zmqOnly) {
					wantFailed++
				}
			}
			if failed != wantFailed {
				t.Errorf("got %d failures of RPC, want %d", failed, wantFailed)
			}
		})
	}
}

// TestClockStep_IgnoresSlewing: passing time is no step, and neither is NTP's slewing.
func TestClockStep_IgnoresSlewing(t *testing.T) {
	for name, c := range map[string]struct{ shown, passed, want time.Duration }{
		"a tick":             {tickInterval, tickInterval, 0},
		"a long pause":       {time.Hour, time.Hour, 0},
		"slewed":             {tickInterval + time.Second/2, tickInterval, 0},
		"set right, back":    {tickInterval - 4*time.Hour, tickInterval, -4 * time.Hour},
		"set right, forward": {tickInterval + 4*time.Hour, tickInterval, 4 * time.Hour},
	} {
		if got := clockStep(c.shown, c.passed); got != c.want {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
	}
}

// TestPosition_Contradicts: which lists are from another run of the node.
func TestPosition_Contradicts(t *testing.T) {
	block := change{letter: transcript.Connected, confirmed: make([]chainhash.Hash, 100)}
	for name, c := range map[string]struct {
		position position
		listed   uint64
		d        difference
		changes  []change
		want     bool
	}{
		"nothing known":                   {position{}, 5, difference{removed: 100}, nil, false},
		"the same":                        {position{next: 1000}, 1000, difference{}, nil, false},
		"each change has a number":        {position{next: 1000}, 1200, difference{added: 150, removed: 50}, nil, false},
		"a block since":                   {position{next: 1000}, 1200, difference{added: 250, removed: 50}, []change{block}, false},
		"changes lost before":             {position{next: 1000, unexplained: 100}, 1000, difference{removed: 100}, nil, false},
		"another run, counted less far":   {position{next: 1000}, 500, difference{removed: 0}, nil, true},
		"another run, counted further":    {position{next: 1000}, 1200, difference{added: 1100, removed: 300}, nil, true},
		"another run, that counted to it": {position{next: 1000}, 1000, difference{added: 900, removed: 900}, nil, true},
		"off by a few":                    {position{next: 1000}, 998, difference{removed: 3}, nil, false},
	} {
		if got := c.position.contradicts(c.listed, c.d, c.changes); got != c.want {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
	}
}
