package hub_test

import (
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/fasthttp/websocket"
	"github.com/prometheus/client_golang/prometheus"

	"sightglass/edge/feed"
	"sightglass/edge/hub"
	"sightglass/edge/internal/edgetest"
	"sightglass/shared/contract"
)

// A simulation generates snapshots as an ingester might, and stores the plain protocol's message for each.
type simulation struct {
	rng    *rand.Rand
	last   *contract.Snapshot
	frame  *feed.Update
	points int

	mu    sync.Mutex
	plain map[string]string // by name
}

// name identifies a snapshot.
func name(s *contract.Snapshot) string { return fmt.Sprint(s.Epoch, "/", s.Seq, "/", s.Status) }

func newSimulation(seed uint64) *simulation {
	return &simulation{
		rng: rand.New(rand.NewPCG(seed, 1)), plain: make(map[string]string),
		last: &contract.Snapshot{Price: 50000, Status: contract.Live, Epoch: "1"},
	}
}

// next makes the next frame. Usually it follows the last one; sometimes it is the last one as stale, or a seq was lost
// on the way to the edge, or a transaction in the middle was replaced, or a new epoch has begun.
func (r *simulation) next(t testing.TB) *feed.Update {
	s := *r.last
	what := r.rng.IntN(12)
	switch {
	case what == 0 && s.Status == contract.Live && s.Seq > 0:
		s.Status = contract.Stale
		return r.add(t, &s)
	case what == 1:
		s.Epoch, s.Seq = s.Epoch+"0", 0
	case what == 2:
		s.Seq++
	}
	s.Seq++
	s.Status = contract.Live
	s.Timestamp++
	all := append([]contract.Point(nil), s.Transactions...)
	if n := len(all); what == 3 && n > 2 {
		all = append(all[:n/2], all[n/2+1:]...)
	}
	for range r.rng.IntN(20) {
		r.points++
		all = append(all, contract.Point{Timestamp: s.Timestamp, Price: float64(r.points) / 4})
	}
	s.Transactions = all[max(0, len(all)-contract.MaxTransactions):]
	return r.add(t, &s)
}

func (r *simulation) add(t testing.TB, s *contract.Snapshot) *feed.Update {
	f, err := feed.NewUpdate(s.AppendJSON(nil), r.frame)
	if err != nil {
		t.Fatal(err)
	}
	r.last, r.frame = s, f
	r.mu.Lock()
	defer r.mu.Unlock()
	r.plain[name(s)] = string(f.JSON)
	return f
}

func (r *simulation) carried(s *contract.Snapshot) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.plain[name(s)]
}

// A spectator checks all messages that one client receives.
type spectator struct {
	conn    *websocket.Conn
	replica *contract.Replica // nil: the plain protocol
	last    *contract.Snapshot
	kinds   map[string]int
}

// next reads a message. In every protocol, its snapshot must have the plain protocol's bytes.
func (v *spectator) next(t testing.TB, r *simulation) (*contract.Snapshot, error) {
	message, code := read(t, v.conn)
	if code != 0 {
		return nil, fmt.Errorf("got close code %d, want a message", code)
	}
	s, err := v.decode([]byte(message))
	if err != nil {
		return nil, err
	}
	if got, want := string(s.AppendJSON(nil)), r.carried(s); got != want {
		return nil, fmt.Errorf("%s: got %.100q, want the plain protocol's %.100q", name(s), got, want)
	}
	if v.last != nil && !s.NewerThan(v.last) && s.Status != contract.Stale {
		return nil, fmt.Errorf("got %s after %s, want a newer one", name(s), name(v.last))
	}
	v.last = s
	return s, nil
}

func (v *spectator) decode(message []byte) (*contract.Snapshot, error) {
	if v.replica == nil {
		return contract.DecodeSnapshot(message)
	}
	if len(message) > 20 {
		v.kinds[string(message[:16])]++
	}
	return v.replica.Apply(message)
}

// narrowBuffer is a receive buffer in bytes for a frame or two. With less than a loopback segment every read would wait
// for a kernel timer.
const narrowBuffer = 64 << 10

// watch connects a client. A narrow one has a small receive buffer.
func watch(t testing.TB, url string, delta, deflate, narrow bool) *spectator {
	t.Helper()
	dialer := &websocket.Dialer{EnableCompression: deflate, NetDial: func(network, addr string) (net.Conn, error) {
		conn, err := net.Dial(network, addr)
		if err == nil && narrow {
			err = conn.(*net.TCPConn).SetReadBuffer(narrowBuffer)
		}
		return conn, err
	}}
	v := &spectator{kinds: make(map[string]int)}
	if delta {
		dialer.Subprotocols, v.replica = []string{hub.DeltaProtocol}, new(contract.Replica)
	}
	conn, answer, err := dialer.Dial(url, nil)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	t.Cleanup(func() { conn.Close() })
	if delta && conn.Subprotocol() != hub.DeltaProtocol {
		t.Errorf("got subprotocol %q, want the requested one", conn.Subprotocol())
	}
	v.conn = conn
	return v
}

// TestHub_EveryProtocolCarriesSameSnapshots: for any snapshots and any reading speed, a client's snapshot after each
// message equals the plain protocol's, byte for byte, and the last one is the newest. Half of the clients read
// continuously, half rarely, so that they fall behind in the middle of a frame.
func TestHub_EveryProtocolCarriesSameSnapshots(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			h, url, reg := serve(t, patient())
			r := newSimulation(seed)
			var quick, slow []*spectator
			for protocol := range 4 {
				delta, deflate := protocol&1 != 0, protocol&2 != 0
				quick = append(quick, watch(t, url, delta, deflate, false))
				slow = append(slow, watch(t, url, delta, deflate, true))
			}
			edgetest.Until(t, "all clients to join", func() bool { return h.Len() == 8 })
			var reading sync.WaitGroup
			for range 150 {
				f := r.next(t)
				h.Broadcast(f)
				for _, v := range quick {
					expectUpTo(t, v, r, f)
				}
				v := slow[r.rng.IntN(len(slow))]
				if has := v.last; r.rng.IntN(4) == 0 && (has == nil || name(has) != name(f.Snapshot)) {
					if _, err := v.next(t, r); err != nil {
						t.Fatal(err)
					}
				}
			}
			last := r.next(t)
			h.Broadcast(last)
			for _, v := range append(quick, slow...) {
				reading.Go(func() { expectUpTo(t, v, r, last) })
			}
			reading.Wait()
			edgetest.Until(t, "no client to be behind", func() bool { return gauge(t, reg, "sightglass_clients_behind") == 0 })
			if gauge(t, reg, "sightglass_client_skipped_total") == 0 {
				t.Error("got no client behind, want some")
			}
			if n := quick[1].kinds[`{"type":"delta",`]; n < 50 {
				t.Errorf("a fast client: got %d deltas, want 50 or more: %v", n, quick[1].kinds)
			}
		})
	}
}

// expectUpTo reads until the client has a frame's snapshot.
func expectUpTo(t testing.TB, v *spectator, r *simulation, f *feed.Update) {
	t.Helper()
	for {
		s, err := v.next(t, r)
		if err != nil {
			t.Error(err)
			return
		}
		if name(s) == name(f.Snapshot) {
			return
		}
	}
}

// gauge returns the sum of a metric's series.
func gauge(t testing.TB, reg prometheus.Gatherer, name string) (sum float64) {
	t.Helper()
	return labelled(t, reg, name, "")
}

// labelled is gauge for the series with a label's value, or for all with "".
func labelled(t testing.TB, reg prometheus.Gatherer, name, value string) (sum float64) {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() != name {
			continue
		}
		for _, m := range family.GetMetric() {
			if value != "" && (len(m.GetLabel()) == 0 || m.GetLabel()[0].GetValue() != value) {
				continue
			}
			sum += m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	return sum
}

// TestHub_PongFollowsFrameBeingWritten: a client in the middle of a frame gets the pong after the frame, not within it,
// and the newest snapshot at last.
func TestHub_PongFollowsFrameBeingWritten(t *testing.T) {
	h, url, reg := serve(t, patient())
	v := watch(t, url, false, false, true)
	edgetest.Until(t, "the client to join", func() bool { return h.Len() == 1 })
	for seq := uint64(1); gauge(t, reg, "sightglass_clients_behind") == 0; seq++ {
		h.Broadcast(frame(t, seq, 1000))
	}
	if err := v.conn.WriteMessage(websocket.TextMessage, []byte(`{"type":"ping","timestamp":7}`)); err != nil {
		t.Fatal(err)
	}
	newest := frame(t, 1_000_000, 1000)
	h.Broadcast(newest)
	ponged := false
	for {
		message, code := read(t, v.conn)
		switch {
		case code != 0:
			t.Fatalf("got close code %d, want a message", code)
		case message == `{"type":"pong","timestamp":7}`:
			ponged = true
		case message == string(newest.JSON) && ponged:
			return
		case message == string(newest.JSON):
			newest = frame(t, newest.Snapshot.Seq+1, 1000) // the hub has not read the ping yet
			h.Broadcast(newest)
		}
	}
}

// TestHub_PingFloodOfSlowClientIsClosed: the hub would have to store the pongs.
func TestHub_PingFloodOfSlowClientIsClosed(t *testing.T) {
	h, url, reg := serve(t, patient())
	v := watch(t, url, false, false, true)
	edgetest.Until(t, "the client to join", func() bool { return h.Len() == 1 })
	for seq := uint64(1); gauge(t, reg, "sightglass_clients_behind") == 0; seq++ {
		h.Broadcast(frame(t, seq, 1000))
	}
	for range 15 { // below the limit of messages, but 15 × 127 bytes of pongs
		if err := v.conn.WriteControl(websocket.PingMessage, make([]byte, 125), time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
	}
	expectClosed(t, reg, "1008")
}

// TestDrain_IsSpreadOverWindow: the hub closes clients one after another, over the window.
func TestDrain_IsSpreadOverWindow(t *testing.T) {
	const n, window = 5, 200 * time.Millisecond
	h, url, _ := serve(t, patient())
	closed := make(chan time.Time, n)
	for range n {
		conn := dial(t, url, false)
		go func() {
			read(t, conn)
			closed <- time.Now()
		}()
	}
	edgetest.Until(t, "all clients to join", func() bool { return h.Len() == n })
	begun := time.Now()
	h.Drain(window, time.Minute)
	var last time.Duration
	for range n {
		last = max(last, (<-closed).Sub(begun))
	}
	if least := window * (n - 1) / n; last < least {
		t.Errorf("got the last close frame after %v, want at least %v", last, least)
	}
}
