package fanout

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"golang.org/x/sys/unix"

	"sightglass/edge"
	"sightglass/edge/ws"
	"sightglass/infra/internal/redisproc"
	"sightglass/shared/contract"
)

// startFloor runs a floor in this process until the test ends.
func startFloor(t *testing.T, p Protocol) Server {
	t.Helper()
	feed, sink, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	f, err := NewFloor(netip.MustParseAddrPort("127.0.0.1:0"), int(feed.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	addr, err := f.Addr()
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- f.Run() }()
	t.Cleanup(func() {
		sink.Close()
		if err := errors.Join(<-ended, feed.Close()); err != nil {
			t.Error(err)
		}
	})
	return Server{Addr: addr, Process: Process(os.Getpid()), Core: -1, Sink: &FloorSink{Feed: sink, Protocol: p}}
}

// startEdge runs an edge in this process until the test ends.
func startEdge(t *testing.T) Server {
	t.Helper()
	server, err := redisproc.New()
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(t.Context()); err != nil {
		t.Fatalf("%v:\n%s", err, server.Output())
	}
	t.Cleanup(func() {
		if err := server.Kill(); err != nil {
			t.Error(err)
		}
	})
	client := redis.NewClient(&redis.Options{Addr: server.Addr()})
	t.Cleanup(func() { client.Close() })
	o := edge.Defaults()
	o.Listen, o.Redis, o.Log = "127.0.0.1:0", server.URL(), slog.New(slog.DiscardHandler)
	o.InternalListen = freeAddr(t)
	o.DrainDelay, o.DrainWindow = 0, 0 // there is no load balancer
	e, err := edge.New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- e.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return Server{
		Addr: e.Addr().(*net.TCPAddr).AddrPort(), Process: Process(os.Getpid()), Core: -1,
		Metrics: "http://" + o.InternalListen + "/metrics", Sink: &RedisSink{Client: client},
	}
}

func freeAddr(t *testing.T) string {
	t.Helper()
	addr, _, err := freeAddrs()
	if err != nil {
		t.Fatal(err)
	}
	return addr.String()
}

func smallLoad(protocol string, clients int) Load {
	return Load{Clients: clients, Rate: 10, Points: 8, Duration: 3 * time.Second, Protocol: Protocols[protocol]}
}

// checkIntervals checks what is true on any machine, which durations are not.
func checkIntervals(t *testing.T, r *Run, l Load) {
	t.Helper()
	for _, f := range r.Intervals {
		if f.Delivered != 1 || f.Untimed != 0 {
			t.Errorf("%s: %v delivered, %d untimed; want all and none", f.Phase, f.Delivered, f.Untimed)
		}
		if f.Snapshots != 30 || f.Messages < int64(29*f.Clients) {
			t.Errorf("%s: %d snapshots in %d messages, want 30 to each of %d clients", f.Phase, f.Snapshots, f.Messages, f.Clients)
		}
		if f.P50 <= 0 || f.P99 < f.P50 || f.Max < f.P99 || f.SpreadP99 > f.Max {
			t.Errorf("%s: latencies %v, %v, %v and a spread of %v are inconsistent", f.Phase, f.P50, f.P99, f.Max, f.SpreadP99)
		}
		if wire := f.MessageBytes * l.Rate; f.ClientBytes < wire/2 {
			t.Errorf("%s: %v B/s a client, want about %v", f.Phase, f.ClientBytes, wire)
		}
	}
}

func TestMeasure_Floor(t *testing.T) {
	minimum := map[string]float64{"plain": 40_000, "deflate": 5000, "delta": 300}
	maximum := map[string]float64{"plain": 50_000, "deflate": 15_000, "delta": 650}
	for protocol := range minimum {
		t.Run(protocol, func(t *testing.T) {
			load := smallLoad(protocol, 20)
			r, err := Measure(t.Context(), startFloor(t, load.Protocol), load)
			if err != nil {
				t.Fatal(err)
			}
			checkIntervals(t, r, load)
			if len(r.Ends) > 0 {
				t.Errorf("connections ended: %v", r.Ends)
			}
			if b := r.Intervals[0].MessageBytes; b < minimum[protocol] || b > maximum[protocol] {
				t.Errorf("a message has %v B, want %v to %v", b, minimum[protocol], maximum[protocol])
			}
		})
	}
}

func TestMeasure_Edge(t *testing.T) {
	server := startEdge(t)
	for _, protocol := range []string{"plain", "deflate", "delta"} {
		t.Run(protocol, func(t *testing.T) {
			load := smallLoad(protocol, 50)
			r, err := Measure(t.Context(), server, load)
			if protocol == "delta" && errors.Is(err, ErrNotOffered) {
				t.Skip("the edge does not offer the protocol")
			}
			if err != nil {
				t.Fatal(err)
			}
			checkIntervals(t, r, load)
			if len(r.Ends) > 0 {
				t.Errorf("connections ended: %v", r.Ends)
			}
		})
	}
}

// TestMeasure_StalledAndChurningClients: the other clients still receive every snapshot.
func TestMeasure_StalledAndChurningClients(t *testing.T) {
	load := smallLoad("plain", 20)
	load.Stalled, load.Churn, load.Stay = 5, 600, time.Second
	r, err := Measure(t.Context(), startEdge(t), load)
	if err != nil {
		t.Fatal(err)
	}
	checkIntervals(t, r, load)
	if len(r.Intervals) != 2 || r.Intervals[0].Clients != 20 || r.Intervals[1].Clients != 15 {
		t.Errorf("intervals %+v, want one with 20 clients and one with 15", r.Intervals)
	}
	first, last := r.Soak[0], r.Soak[len(r.Soak)-1]
	if first.Clients != 0 || last.Clients != 0 || first.Goroutines == 0 || first.RSS == 0 || first.Descriptors == 0 {
		t.Errorf("samples %+v and %+v, want no clients, and goroutines, memory and descriptors", first, last)
	}
	if r.Churned < 20 {
		t.Errorf("%d clients have left, want about 30", r.Churned)
	}
}

// TestMeasure_Grow: no interval follows that would exceed the maximum number of clients.
func TestMeasure_Grow(t *testing.T) {
	load := smallLoad("delta", 10)
	load.Duration, load.Grow = time.Second, maxClients-5
	r, err := Measure(t.Context(), startFloor(t, load.Protocol), load)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(r.Intervals); n != 1 {
		t.Errorf("%d intervals, want one: the next would have too many clients", n)
	}
	good := Figures{Clients: 10, P99: 5, Delivered: 1}
	slow, lossy := Figures{Clients: 20, P99: 100, Delivered: 1}, Figures{Clients: 30, P99: 5, Delivered: 0.99}
	if n := (&Run{Intervals: []Figures{good, slow, lossy}}).Capacity(); n != 10 {
		t.Errorf("capacity %d, want 10", n)
	}
}

// TestGenerator_ConnectionRefused: with fewer clients than requested, the figures would be too good.
func TestGenerator_ConnectionRefused(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().(*net.TCPAddr).AddrPort()
	ln.Close() // the port is unused now
	g, err := NewGenerator(addr, Protocols["plain"], NewDeliveries())
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Connect(t.Context(), 1); err == nil {
		t.Error("no error for a refused connection")
	}
	if err := g.Close(); err != nil {
		t.Error(err)
	}
}

func TestSource_SnapshotsAreValid(t *testing.T) {
	now := time.UnixMilli(1556771672500)
	s := NewSource(8, now)
	var added int
	for range 100 {
		now = now.Add(500 * time.Millisecond)
		got, err := contract.DecodeSnapshot(s.Next(now, 500*time.Millisecond).AppendJSON(nil))
		if err != nil {
			t.Fatal(err)
		}
		if len(got.Transactions) != contract.MaxTransactions {
			t.Errorf("%d points, want %d", len(got.Transactions), contract.MaxTransactions)
		}
		added += s.added
		if ms, ok := parseTimestamp(s.appendDelta(nil)); !ok || ms != now.UnixMilli() {
			t.Errorf("the delta's timestamp is %d, want %d", ms, now.UnixMilli())
		}
	}
	if added < 700 || added > 900 {
		t.Errorf("%d new points in 100 snapshots, want about 800", added)
	}
}

func TestParseTimestamp(t *testing.T) {
	for text, want := range map[string]int64{
		`{"transactions":[{"timestamp":1.000,"price":2.00}],"timestamp":1556771672.500,"low":1}`: 1556771672500,
		`{"timestamp":12.345}`:       12345,
		`{"timestamp":12.34}`:        -1,
		`{"timestamp":12.3456}`:      -1,
		`{"timestamp":.345}`:         -1,
		`{"timestamp":12.345`:        -1, // may be incomplete
		`{"timestamp":"12.345"}`:     -1,
		`{"timestamp":1234567890123`: -1,
		`{"timestamp":`:              -1,
		`{"time":12.345}`:            -1,
		``:                           -1,
	} {
		got, ok := parseTimestamp([]byte(text))
		if !ok {
			got = -1
		}
		if got != want {
			t.Errorf("%s: %d, want %d", text, got, want)
		}
	}
}

// TestDeflateIndex_LookupBeforeAdd: an arrival waits until a client that inflates adds the message.
func TestDeflateIndex_LookupBeforeAdd(t *testing.T) {
	x := newDeflateIndex()
	for i := range int64(3 * maxIndexed) {
		snapshot := contract.Snapshot{Timestamp: float64(1_000_000+i) / 1000, Status: contract.Live, Epoch: "1"}
		message := ws.Deflate(snapshot.AppendJSON(nil))
		if _, ok := x.lookup(message, 5); ok {
			t.Fatal("indexed before it was added")
		}
		timestamp, waiting, err := x.add(message)
		if err != nil || timestamp != 1_000_000+i || len(waiting) != 1 || waiting[0] != 5 {
			t.Fatalf("add: timestamp %d, %d waiting, %v; want %d and one", timestamp, len(waiting), err, 1_000_000+i)
		}
		if timestamp, ok := x.lookup(message, 6); !ok || timestamp != 1_000_000+i {
			t.Fatalf("lookup: %d, %v; want %d", timestamp, ok, 1_000_000+i)
		}
	}
	if len(x.timestamps) > maxIndexed || len(x.waiting) > 0 {
		t.Errorf("%d indexed and %d waiting, want at most %d and none", len(x.timestamps), len(x.waiting), maxIndexed)
	}
	if _, _, err := x.add([]byte("not deflated")); err == nil {
		t.Error("no error for a message that cannot be inflated")
	}
}

func TestCores_ServerCoreIsSeparate(t *testing.T) {
	server, others, err := Cores()
	if err != nil {
		t.Fatal(err)
	}
	var all unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		t.Fatal(err)
	}
	if !all.IsSet(server) || others.Count() == 0 || all.Count() > 1 && others.IsSet(server) {
		t.Errorf("core %d and %d others, of %d", server, others.Count(), all.Count())
	}
}

func TestOptions_ValidateNamesEveryError(t *testing.T) {
	good := Options{Clients: 10, Rounds: 1, Rate: 2, Points: 8, Duration: time.Second, Protocol: []string{"plain"}}
	if err := good.Validate(); err != nil {
		t.Error(err)
	}
	bad := Options{Clients: 20_000, Rate: 1000, Points: -1, Churn: -1, Stalled: 20_000, Protocol: []string{"morse"}}
	err := bad.Validate()
	joined, ok := errors.AsType[interface {
		error
		Unwrap() []error
	}](err)
	if !ok || len(joined.Unwrap()) != 8 {
		t.Errorf("got %v, want eight errors", err)
	}
}
