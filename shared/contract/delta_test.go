package contract

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
)

// successor is the snapshot after example: one point removed, two added. testdata/delta.json encodes it.
func successor() *Snapshot {
	s := example()
	s.Seq++
	s.Price, s.Confidence, s.Low, s.High, s.Timestamp = 5313.6, 0.988, 5301.2, 5326, 1556771673
	s.Stats = Stats{TotalReceived: 3319, TotalFiltered: 813, ActiveInWindow: 2506, UptimeSeconds: 62}
	s.Transactions = append(s.Transactions[1:len(s.Transactions):len(s.Transactions)],
		Point{Timestamp: 1556771672.75, Price: 5315}, Point{Timestamp: 1556771672.9, Price: 5312.3})
	return s
}

// peersFound is the snapshot after withPeers, with all peers connected. testdata/delta-peers.json encodes it.
func peersFound() *Snapshot {
	s := successor()
	s.Stats.Peers, s.Stats.PeersWanted = 8, 8
	return s
}

func goldenMessage(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.TrimSpace(data)
}

func delta(t testing.TB, old, s *Snapshot) []byte {
	t.Helper()
	d, ok := DeltaBetween(old, s)
	if !ok {
		t.Fatalf("got no delta from seq %d to seq %d", old.Seq, s.Seq)
	}
	return d.AppendJSON(nil)
}

func TestDelta_MatchesGoldenFiles(t *testing.T) {
	for name, got := range map[string][]byte{
		"keyframe.json":    example().AppendKeyframe(nil),
		"delta.json":       delta(t, example(), successor()),
		"delta-peers.json": delta(t, withPeers(), peersFound()),
	} {
		if want := goldenMessage(t, name); !bytes.Equal(got, want) {
			t.Errorf("%s: got another encoding, want the public contract's\n got %s\nwant %s", name, got, want)
		}
	}
}

func TestReplica_RebuildsSnapshot(t *testing.T) {
	var r Replica
	expectReplica(t, &r, goldenMessage(t, "keyframe.json"), example())
	expectReplica(t, &r, goldenMessage(t, "delta.json"), successor())
}

// TestReplica_FollowsPeers: a delta changes the number of peers, and a keyframe of an ingester with a node removes it.
func TestReplica_FollowsPeers(t *testing.T) {
	var r Replica
	expectReplica(t, &r, withPeers().AppendKeyframe(nil), withPeers())
	expectReplica(t, &r, goldenMessage(t, "delta-peers.json"), peersFound())
	expectReplica(t, &r, goldenMessage(t, "keyframe.json"), example())
}

func expectReplica(t testing.TB, r *Replica, message []byte, want *Snapshot) {
	t.Helper()
	got, err := r.Apply(message)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := got.AppendJSON(nil), want.AppendJSON(nil); !bytes.Equal(got, want) {
		t.Fatalf("got %s\nwant %s", got, want)
	}
}

// TestReplica_FollowsStatus: deltas lead to each status and back, and to one that this version does not know.
func TestReplica_FollowsStatus(t *testing.T) {
	var r Replica
	s := example()
	expectReplica(t, &r, s.AppendKeyframe(nil), s)
	for _, status := range []Status{Contested, Live, Contested, Stale, "half_open", Live} {
		next := *s
		next.Seq++
		next.Status = status
		expectReplica(t, &r, delta(t, s, &next), &next)
		s = &next
	}
}

// TestReplica_LosesAndRegainsPrice: without a price there are no points, so the change needs a keyframe; deltas lead on
// from there.
func TestReplica_LosesAndRegainsPrice(t *testing.T) {
	var r Replica
	s := example()
	expectReplica(t, &r, s.AppendKeyframe(nil), s)
	without := &Snapshot{Status: Warming, Confidence: 0.2, Stats: s.Stats, Timestamp: s.Timestamp, Seq: s.Seq + 1, Epoch: s.Epoch}
	if d, ok := DeltaBetween(s, without); ok {
		t.Errorf("got %+v to a snapshot without points, want none", d)
	}
	expectReplica(t, &r, without.AppendKeyframe(nil), without)
	still := *without
	still.Seq++
	expectReplica(t, &r, delta(t, without, &still), &still)
	again := successor()
	again.Seq = still.Seq + 1
	expectReplica(t, &r, delta(t, &still, again), again)
}

// TestReplica_RebuildsAnySequence: for random additions and removals, a replica that applies each message has the same
// bytes as a client of the plain protocol.
func TestReplica_RebuildsAnySequence(t *testing.T) {
	for seed := range uint64(50) {
		rng := rand.New(rand.NewPCG(seed, 1))
		var r Replica
		s, deltas := example(), 0
		expectReplica(t, &r, s.AppendKeyframe(nil), s)
		for range 50 {
			old := s
			s = follow(rng, old)
			d, ok := DeltaBetween(old, s)
			if !ok {
				expectReplica(t, &r, s.AppendKeyframe(nil), s)
				continue
			}
			deltas++
			expectReplica(t, &r, d.AppendJSON(nil), s)
		}
		if deltas == 0 {
			t.Errorf("seed %d: got no delta, want some", seed)
		}
	}
}

// follow generates the next snapshot: some points are removed, some added, and sometimes one in the middle is removed.
func follow(rng *rand.Rand, old *Snapshot) *Snapshot {
	s := *old
	s.Seq++
	s.Price, s.Timestamp = cents(rng), old.Timestamp+0.5
	s.Status = []Status{Warming, Live, Contested}[rng.IntN(3)]
	kept := old.Transactions[rng.IntN(len(old.Transactions)+1):]
	s.Transactions = append([]Point(nil), kept...)
	if n := len(s.Transactions); n > 2 && rng.IntN(10) == 0 {
		s.Transactions = append(s.Transactions[:n/2], s.Transactions[n/2+1:]...)
	}
	for range rng.IntN(5) {
		s.Transactions = append(s.Transactions, Point{Timestamp: s.Timestamp, Price: cents(rng)})
	}
	return &s
}

func cents(rng *rand.Rand) float64 { return float64(rng.IntN(10_000_000)) / 100 }

func TestDelta_NoneWhereNotApplicable(t *testing.T) {
	for name, change := range map[string]func(*Snapshot){
		"another epoch":      func(s *Snapshot) { s.Epoch = "1556771611001" },
		"a seq was skipped":  func(s *Snapshot) { s.Seq++ },
		"the same seq":       func(s *Snapshot) { s.Seq-- },
		"no common points":   func(s *Snapshot) { s.Transactions = s.Transactions[1:] },
		"all points removed": func(s *Snapshot) { s.Transactions = nil },
		"the newest removed": func(s *Snapshot) { s.Transactions = example().Transactions[:1] },
		"another order": func(s *Snapshot) {
			s.Transactions[0], s.Transactions[1] = s.Transactions[1], s.Transactions[0]
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := successor()
			change(s)
			if d, ok := DeltaBetween(example(), s); ok {
				t.Errorf("got %+v, want none", d)
			}
		})
	}
}

func TestDelta_FitsOneSegment(t *testing.T) {
	old := example()
	old.Transactions = make([]Point, MaxTransactions)
	for i := range old.Transactions {
		old.Transactions[i] = Point{Timestamp: 1795439823.5 + float64(i), Price: 100000.25}
	}
	s := *old
	s.Seq++
	s.Stats = Stats{TotalReceived: 1e6, TotalFiltered: 1e6, ActiveInWindow: 1e5, UptimeSeconds: 1e6}
	s.Stats.Peers, s.Stats.PeersWanted = 32, 32
	for i := range 8 { // the additions of half a second
		s.Transactions = append(s.Transactions[1:], Point{Timestamp: 1795449823.5 + float64(i), Price: 100000.25})
	}
	if got := len(delta(t, old, &s)); got > 650 {
		t.Errorf("got %d bytes, want at most 650", got)
	}
}

func TestReplica_RejectsInvalidMessages(t *testing.T) {
	whole := string(goldenMessage(t, "delta.json"))
	for name, c := range map[string]struct{ message, want string }{
		"not JSON":             {"<html>", "not JSON"},
		"another type":         {`{"type":"pong"}`, `type: got "pong", want keyframe or delta`},
		"a plain snapshot":     {string(golden(t)), `type: got "", want keyframe`},
		"a gap":                {strings.Replace(whole, `"seq":124`, `"seq":125`, 1), "got a delta to seq 125 after seq 123"},
		"a repeated delta":     {strings.Replace(whole, `"seq":124`, `"seq":123`, 1), "after seq"},
		"a drop too large":     {strings.Replace(whole, `"drop":1`, `"drop":3`, 1), "drop: 3 of 2 transactions"},
		"a negative drop":      {strings.Replace(whole, `"drop":1`, `"drop":-1`, 1), "drop: -1 of 2"},
		"a point of one":       {strings.Replace(whole, `,5315.00]`, `]`, 1), "add: index 0: want [timestamp, price]"},
		"a point of text":      {strings.Replace(whole, `5315.00`, `"5315"`, 1), "add: got a JSON string, want a number"},
		"no status":            {strings.Replace(whole, `"status":"live",`, ``, 1), `status: got ""`},
		"a status with quotes": {strings.Replace(whole, `"live"`, `"\"dead\""`, 1), `status: got "\"dead\""`},
		"a keyframe cut short": {`{"type":"keyframe","price":1}`, "missing"},
	} {
		t.Run(name, func(t *testing.T) {
			var r Replica
			expectReplica(t, &r, goldenMessage(t, "keyframe.json"), example())
			if _, err := r.Apply([]byte(c.message)); !errors.Is(err, ErrInvalidSnapshot) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v\nwant an ErrInvalid with %q", err, c.want)
			}
			expectReplica(t, &r, []byte(whole), successor()) // the invalid message has changed nothing
		})
	}
	var fresh Replica
	if _, err := fresh.Apply([]byte(whole)); err == nil {
		t.Error("got a delta accepted before the first keyframe, want an error")
	}
}
