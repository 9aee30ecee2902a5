package hub

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sightglass/edge/feed"
	"sightglass/shared/contract"
)

// hubWithClients makes a hub with the given number of clients per codec. The other ends do not read: the kernel
// buffers.
func hubWithClients(tb testing.TB, each int) *Hub {
	tb.Helper()
	h := New(Options{
		MaxPerAddress: 1, MaxClients: each * len(codecs), PingInterval: time.Minute, WriteTimeout: time.Minute,
		Log: slog.New(slog.DiscardHandler),
	}, prometheus.NewRegistry())
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer ln.Close()
	for i := range each * len(codecs) {
		there, err := net.Dial("tcp", ln.Addr().String())
		here, err2 := ln.Accept()
		if err = errors.Join(err, err2); err != nil {
			tb.Fatal(err)
		}
		tb.Cleanup(func() { there.Close(); here.Close() })
		c, err := newClient(here, there.LocalAddr().(*net.TCPAddr).AddrPort().Addr(), h, codecs[i%len(codecs)], nil)
		if err != nil {
			tb.Fatal(err)
		}
		if why := h.join(c); why.code != 0 {
			tb.Fatal(why)
		}
	}
	return h
}

// someFrames are successive frames with every encoding built, as they are for the second client of each codec.
func someFrames(tb testing.TB, n int) (frames []*frame) {
	tb.Helper()
	var before *feed.Update
	for seq := range n {
		s := contract.Snapshot{Price: 50000, Status: contract.Live, Epoch: "1", Seq: uint64(seq + 1)}
		u, err := feed.NewUpdate(s.AppendJSON(nil), before)
		if err != nil {
			tb.Fatal(err)
		}
		f := &frame{Update: u, arrived: time.Now()}
		for _, c := range codecs {
			c.pick(f, u.BaseID)
			c.pick(f, 0)
		}
		frames, before = append(frames, f), u
	}
	return frames
}

// TestFanOut_AllocatesNothingPerClient compares the allocations per tick for few and for many clients.
func TestFanOut_AllocatesNothingPerClient(t *testing.T) {
	perTick := func(each int) float64 {
		const ticks = 20
		h, frames := hubWithClients(t, each), someFrames(t, ticks+1) // AllocsPerRun makes one more
		return testing.AllocsPerRun(ticks, func() {
			h.broadcast(frames[0])
			frames = frames[1:]
			for _, s := range h.shards {
				s.fanOut()
			}
		})
	}
	if few, many := perTick(1), perTick(50); many > few {
		t.Errorf("got %v allocations per tick for 6 clients and %v for 300, want no more", few, many)
	}
}

// BenchmarkFanOut measures the cost of one client and tick: a system call and little else.
func BenchmarkFanOut(b *testing.B) {
	h := hubWithClients(b, 100)
	frames := someFrames(b, 2)
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		h.broadcast(frames[n%2])
		for _, s := range h.shards {
			s.fanOut()
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*100*len(codecs)), "ns/client")
}

func TestShard_VisitsEveryClientWhileOthersLeave(t *testing.T) {
	for _, n := range []int{0, 1, batchSize - 1, batchSize, batchSize + 1, 5 * batchSize} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			s := newShard(&Hub{startedAt: time.Now()})
			stays := make(map[*client]int)
			var goes []*client
			for i := range n {
				c := &client{}
				s.add(c)
				if i%3 == 0 {
					goes = append(goes, c)
				} else {
					stays[c] = 0
				}
			}
			s.each(func(c *client, _ time.Duration) {
				if _, ok := stays[c]; ok {
					stays[c]++
				}
				for range 2 { // from both ends of the list
					if len(goes) > 0 {
						s.remove(goes[0])
						goes = goes[1:]
					}
				}
				if len(goes) > 0 {
					s.remove(goes[len(goes)-1])
					goes = goes[:len(goes)-1]
				}
			})
			for c, visits := range stays {
				if visits == 0 {
					t.Errorf("got the client in place %d skipped, want it visited", c.place)
				}
			}
		})
	}
}
