package e2e

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"sightglass/edge"
	"sightglass/infra/test/internal/programs"
	"sightglass/infra/test/internal/redistest"
	"sightglass/ingester/testblock"
	"sightglass/shared/contract"
)

// A candidate is one ingester of a fleet, as the real program.
type candidate struct {
	*programs.Process
	metrics string // address
}

// leads reports whether the ingester is the leader, by its metrics.
func (r *candidate) leads() bool { return gaugeAt(r.metrics, "sightglass_leader") == 1 }

// gaugeAt returns the value of a metric without labels, or -1 on an error.
func gaugeAt(addr, name string) float64 {
	value, ok := programs.Metric(addr, name)
	if !ok {
		return -1
	}
	return value
}

// candidates are several ingesters behind one Redis, their node, an edge and its clients.
type candidates struct {
	ingester, zmq string
	redis         *redistest.Server
	edge          *edge.Edge
}

func startCandidates(t *testing.T) *candidates {
	t.Helper()
	f := &candidates{
		ingester: programs.Build(t, "ingester", "ingester"),
		zmq:      "tcp://" + programs.FreeAddr(t),
		redis:    redistest.Start(t),
	}
	programs.Launch(t, f.ingester, "replay", "--zmq", f.zmq, "--rate", "2000", "--loop", testblock.Path(t, testblock.Block574200))
	f.edge = edgeWith(t, f.redis, unchanged)
	return f
}

func (f *candidates) launch(t *testing.T) *candidate {
	t.Helper()
	metrics := programs.FreeAddr(t)
	r := &candidate{metrics: metrics}
	r.Process = programs.Launch(t, f.ingester, "run", "--zmq", f.zmq, "--redis", f.redis.URL(), "--internal-listen", metrics)
	programs.Until(t, "the ingester to have a price", func() bool { return gaugeAt(metrics, "sightglass_price_usd") > 0 })
	return r
}

// watchers are the clients of a fleet. They fail the test on a disconnect, or on an older snapshot after a newer one.
type watchers struct {
	epochs  []atomic.Pointer[contract.Epoch]
	silence atomic.Int64 // the first client's longest wait for a new leader's snapshot, in ms
}

func (f *candidates) watchers(t *testing.T, n int) *watchers {
	t.Helper()
	c := &watchers{epochs: make([]atomic.Pointer[contract.Epoch], n)}
	ctx, cancel := context.WithCancel(t.Context())
	var g errgroup.Group
	for i := range n {
		v := view(t, f.edge, source(i))
		g.Go(func() error {
			for {
				before, waited := v.Last, time.Now()
				s, err := v.Next(ctx)
				if ctx.Err() != nil {
					return nil //nolint:nilerr // the test has ended
				}
				if err != nil {
					return fmt.Errorf("client %d: %w", i, err)
				}
				c.epochs[i].Store(&s.Epoch)
				if i == 0 && before != nil && before.Epoch != s.Epoch {
					c.silence.Store(max(c.silence.Load(), time.Since(waited).Milliseconds()))
				}
			}
		})
	}
	t.Cleanup(func() {
		cancel()
		if err := g.Wait(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// await waits until every client has a snapshot of a later epoch than old, and returns that epoch.
func (c *watchers) await(t *testing.T, old contract.Epoch) (now contract.Epoch) {
	t.Helper()
	programs.Until(t, "every client to see a later epoch than "+string(old), func() bool {
		for i := range c.epochs {
			epoch := c.epochs[i].Load()
			if epoch == nil || !epoch.After(old) {
				return false
			}
			now = *epoch
		}
		return true
	})
	return now
}

// watchChannel fails the test if a snapshot on the channel is older than the one before it. No edge is involved.
func (f *candidates) watchChannel(t *testing.T) {
	t.Helper()
	sub := f.redis.Client().Subscribe(t.Context(), contract.Channel)
	if _, err := sub.Receive(t.Context()); err != nil {
		t.Fatal(err)
	}
	var done sync.WaitGroup
	messages := sub.Channel()
	done.Go(func() {
		var last *contract.Snapshot
		for m := range messages {
			s, err := contract.DecodeSnapshot([]byte(m.Payload))
			if err != nil {
				t.Error(err)
				return
			}
			if !s.NewerThan(last) {
				t.Errorf("got epoch %s seq %d on the channel after epoch %s seq %d, want a newer one", s.Epoch, s.Seq, last.Epoch, last.Seq)
			}
			if last != nil && s.Epoch != last.Epoch && s.Seq != 1 {
				t.Errorf("epoch %s: got first seq %d, want 1", s.Epoch, s.Seq)
			}
			last = s
		}
	})
	t.Cleanup(func() { sub.Close(); done.Wait() })
}

// TestLeader_Failover: the leader is killed, then the next one hangs and resumes, then the third stops. Each time
// another candidate is elected, no client is disconnected, and no older snapshot follows a newer one.
func TestLeader_Failover(t *testing.T) {
	f := startCandidates(t)
	first := f.launch(t)
	second := f.launch(t)
	if !first.leads() || second.leads() {
		t.Fatalf("got the first as leader: %v, the second: %v; want the first alone", first.leads(), second.leads())
	}
	f.watchChannel(t)
	clients := f.watchers(t, 5)
	epoch := clients.await(t, "0")

	first.Signal(t, syscall.SIGKILL)
	epoch = clients.await(t, epoch)
	if !second.leads() {
		t.Error("got the second as candidate, want it as leader")
	}

	third := f.launch(t)
	second.Signal(t, syscall.SIGSTOP)
	epoch = clients.await(t, epoch)
	second.Signal(t, syscall.SIGCONT)
	programs.Until(t, "a fenced snapshot of the resumed ingester", func() bool {
		return gaugeAt(second.metrics, "sightglass_publish_fenced_total") == 1
	})
	if second.leads() {
		t.Error("got the resumed ingester as leader, want it as candidate")
	}
	if !third.leads() {
		t.Error("got the third as candidate, want it as leader")
	}

	third.Stop(t)
	clients.await(t, epoch)
	if !second.leads() {
		t.Error("got the second as candidate after the third's end, want it as leader")
	}
	t.Logf("the longest silence while the leader changed: %d ms", clients.silence.Load())
}

// TestLeader_RedisRestartsEmpty: Redis has lost the lease. One of two ingesters is elected, under a later epoch than
// before.
func TestLeader_RedisRestartsEmpty(t *testing.T) {
	f := startCandidates(t)
	a, b := f.launch(t), f.launch(t)
	clients := f.watchers(t, 2)
	epoch := clients.await(t, "0")
	f.redis.Kill()
	f.redis.Start()
	clients.await(t, epoch)
	programs.Until(t, "exactly one leader", func() bool { return a.leads() != b.leads() })
}

// TestLeader_RedisLosesAnElection: a failover to a lagging replica, or a start from an old dump, resets Redis to the
// state before the last election. The earlier leader finds its epoch there; edges have seen a later one and reject its
// snapshots, until the later leader is elected again.
func TestLeader_RedisLosesAnElection(t *testing.T) {
	server := redistest.Start(t)
	client := server.Client()
	forget := func(key string) {
		t.Helper()
		if err := client.Del(t.Context(), key).Err(); err != nil {
			t.Fatal(err)
		}
	}
	first, firstReg, stopFirst := publisherWith(t, server.URL(), time.Minute, slog.New(slog.DiscardHandler))
	defer stopFirst()
	awaitElection(t, firstReg)
	old := epochIn(t, server)
	forget(contract.KeyLeader) // its lease expires
	second, secondReg, stopSecond := publisherWith(t, server.URL(), time.Minute, slog.New(slog.DiscardHandler))
	defer stopSecond()
	awaitElection(t, secondReg)
	seen := epochIn(t, server)

	forget(contract.KeyLeader)
	if err := client.Set(t.Context(), contract.KeyEpoch, string(old), 0).Err(); err != nil {
		t.Fatal(err)
	}
	programs.Until(t, "the first to publish again", func() bool {
		tick(first)
		s := latest(t, server)
		return s != nil && s.Epoch == old
	})
	programs.Until(t, "the second to be elected, under a later epoch", func() bool {
		tick(second)
		return epochIn(t, server).After(seen)
	})
	programs.Until(t, "the first to notice", func() bool {
		tick(first)
		return value(t, firstReg, "sightglass_publish_fenced_total") == 1
	})
}

// TestLeader_NamesUnusableEpoch: the key was overwritten with a value that no epoch can exceed.
func TestLeader_NamesUnusableEpoch(t *testing.T) {
	server := redistest.Start(t)
	client := server.Client()
	if err := client.Set(t.Context(), contract.KeyEpoch, "99999999999999999999999999", 0).Err(); err != nil {
		t.Fatal(err)
	}
	var logged bytes.Buffer
	p, reg, stop := publisherWith(t, server.URL(), time.Second, slog.New(slog.NewTextHandler(&logged, nil)))
	programs.Until(t, "the failure", func() bool { return value(t, reg, "sightglass_publish_failures_total") > 0 })
	if err := client.Del(t.Context(), contract.KeyEpoch).Err(); err != nil {
		t.Fatal(err)
	}
	programs.Until(t, "the election", func() bool { tick(p); return value(t, reg, "sightglass_leader_elections_total") == 1 })
	stop()
	if text := logged.String(); !strings.Contains(text, contract.KeyEpoch) || !strings.Contains(text, "DEL") {
		t.Errorf("got log %q, want the key and what to do", text)
	}
}

// epochIn returns the epoch of the latest election from Redis.
func epochIn(t *testing.T, server *redistest.Server) contract.Epoch {
	t.Helper()
	return contract.Epoch(server.Client().Get(t.Context(), contract.KeyEpoch).Val())
}
