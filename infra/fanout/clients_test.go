package fanout

import (
	"context"
	"errors"
	"net/http"
	"os"
	"runtime/debug"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	sharedclient "sightglass/shared/client"
	"sightglass/shared/contract"
)

// BenchmarkClients compares the Generator's clients with those of shared/client; the package comment gives the result. An
// operation delivers one message to all clients, and the next starts when all have received it. The floor runs in a child
// process on another core, and is not part of the CPU time and the memory.
func BenchmarkClients(b *testing.B) {
	for _, kind := range []string{"keyframe", "delta"} {
		b.Run(kind+"/epoll", func(b *testing.B) { benchmarkClients(b, kind == "delta", connectEpoll) })
		b.Run(kind+"/shared-client", func(b *testing.B) { benchmarkClients(b, kind == "delta", connectShared) })
	}
}

const benchmarkedClients = 1000

func benchmarkClients(b *testing.B, deltas bool, connect func(*testing.B, Server, *Deliveries)) {
	server := startFloorProcess(b)
	sink := server.Sink.(*FloorSink)
	source, deliveries, now := NewSource(8, time.Now()), NewDeliveries(), time.Now()
	poll := time.NewTicker(time.Millisecond)
	defer poll.Stop()
	// deliver reports whether all clients received the message in time.
	deliver := func(keyframe bool, timeout time.Duration) bool {
		now = now.Add(500 * time.Millisecond)
		snapshot := source.Next(now, 500*time.Millisecond)
		if keyframe {
			sink.setFrame(snapshot.AppendKeyframe(nil), false)
		} else {
			sink.setFrame(source.appendDelta(nil), false)
		}
		deliveries.Collect(benchmarkedClients)
		deliveries.Sent(timestampMillis(snapshot), time.Now())
		if err := sink.Send(b.Context()); err != nil {
			b.Fatal(err)
		}
		for deadline := time.Now().Add(timeout); !deliveries.complete(benchmarkedClients); <-poll.C {
			if time.Now().After(deadline) {
				return false
			}
		}
		return true
	}

	debug.FreeOSMemory()
	idle := rss(b)
	connect(b, server, deliveries)
	const maxTimeout = time.Minute
	for timeout := time.Second; !deliver(true, timeout); timeout *= 2 { // a client that connects later misses it
		if timeout > maxTimeout {
			b.Fatal("some clients did not connect")
		}
	}
	var cpu time.Duration
	for b.Loop() {
		before := cpuTime(b)
		if !deliver(!deltas, maxTimeout) {
			b.Fatal("a client missed a message")
		}
		cpu += cpuTime(b) - before
	}
	messages := float64(b.N) * benchmarkedClients
	b.ReportMetric(cpu.Seconds()*1e6/messages, "cpu-µs/message")
	b.ReportMetric(float64(rss(b)-idle)/1024/benchmarkedClients, "KiB/client")
}

// startFloorProcess runs a floor as a child process, on a core that this process does not use, until the benchmark ends.
func startFloorProcess(b *testing.B) Server {
	b.Helper()
	core, others, err := Cores()
	if err != nil {
		b.Fatal(err)
	}
	all := others
	all.Set(core)
	addr, _, err := freeAddrs()
	if err := errors.Join(err, RaiseFileLimit(benchmarkedClients), pinSelf(&others)); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := pinSelf(&all); err != nil {
			b.Error(err)
		}
	})
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	floor, err := launch(core, self, FloorCommand, addr.String())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := floor.stop(); err != nil {
			b.Error(err)
		}
	})
	if err := awaitListener(b.Context(), addr); err != nil {
		b.Fatal(err)
	}
	return Server{Addr: addr, Sink: &FloorSink{Feed: floor.stdin}}
}

func connectEpoll(b *testing.B, server Server, deliveries *Deliveries) {
	b.Helper()
	g, err := NewGenerator(server.Addr, Protocols["delta"], deliveries)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := g.Close(); err != nil {
			b.Error(err)
		}
	})
	if err := g.Connect(b.Context(), benchmarkedClients); err != nil {
		b.Fatal(err)
	}
}

func connectShared(b *testing.B, server Server, deliveries *Deliveries) {
	b.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var clients sync.WaitGroup
	b.Cleanup(func() { cancel(); clients.Wait() })
	options := sharedclient.Options{
		URL:        "ws://" + server.Addr.String() + streamPath,
		HTTPClient: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}},
		Received:   func(s *contract.Snapshot) { deliveries.received(timestampMillis(s), time.Now().UnixNano()) },
		Disconnected: func(reason error, _ time.Duration) {
			if ctx.Err() == nil {
				b.Error(reason)
			}
		},
	}
	for range benchmarkedClients {
		clients.Go(func() { sharedclient.Run(ctx, options, func(*contract.Snapshot) {}) }) //nolint:errcheck // ctx's cause
	}
}

func rss(b *testing.B) int64 {
	b.Helper()
	n, err := Process(os.Getpid()).RSS()
	if err != nil {
		b.Fatal(err)
	}
	return n
}

// cpuTime returns the user and system time of this process.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var usage unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
