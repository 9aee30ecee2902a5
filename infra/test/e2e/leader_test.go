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

// A candidate is one of the ingesters of a fleet: the real program.
type candidate struct {
	*programs.Process
	metrics string // where they are
}

// leads reports whether the ingester says that its snapshots are the ones published.
func (r *candidate) leads() bool { return gaugeAt(r.metrics, "sightglass_leader") == 1 }

// gaugeAt gives a metric without labels; -1 if it cannot be had.
func gaugeAt(addr, name string) float64 {
	value, ok := programs.Metric(addr, name)
	if !ok {
		return -1
	}
	return value
}

// An electorate is several ingesters behind one Redis, their node, an edge and its clients.
type electorate struct {
	ingester, zmq string
	redis         *redistest.Server
	edge          *edge.Edge
}

func startElectorate(t *testing.T) *electorate {
	t.Helper()
	f := &electorate{
		ingester: programs.Build(t, "ingester", "ingester"),
		zmq:      "tcp://" + programs.FreeAddr(t),
		redis:    redistest.Start(t),
	}
	programs.Launch(t, f.ingester, "replay", "--zmq", f.zmq, "--rate", "2000", "--loop", testblock.Path(t, testblock.Block574200))
	f.edge = edgeWith(t, f.redis, unchanged)
	return f
}

func (f *electorate) launch(t *testing.T) *candidate {
	t.Helper()
	metrics := programs.FreeAddr(t)
	r := &candidate{metrics: metrics}
	r.Process = programs.Launch(t, f.ingester, "run", "--zmq", f.zmq, "--redis", f.redis.URL(), "--internal-listen", metrics)
	programs.Until(t, "the ingester to have a price", func() bool { return gaugeAt(metrics, "sightglass_price_usd") > 0 })
	return r
}

// Watchers are its clients. They check that nothing older follows something newer, and are never disconnected.
type watchers struct {
	epochs  []atomic.Pointer[contract.Epoch]
	silence atomic.Int64 // the longest that the first client had to wait for a snapshot of another leader, in ms
}

func (f *electorate) watchers(t *testing.T, n int) *watchers {
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
					return nil //nolint:nilerr // the test is over
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

// await waits until every client has a snapshot of a later epoch than old, and gives its epoch.
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

// watchChannel fails the test if anything on the channel is older than what came before: that is Redis's own doing,
// before any edge looks.
func (f *electorate) watchChannel(t *testing.T) {
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
				t.Errorf("epoch %s seq %d on the channel after epoch %s seq %d", s.Epoch, s.Seq, last.Epoch, last.Seq)
			}
			if last != nil && s.Epoch != last.Epoch && s.Seq != 1 {
				t.Errorf("epoch %s begins with seq %d", s.Epoch, s.Seq)
			}
			last = s
		}
	})
	t.Cleanup(func() { sub.Close(); done.Wait() })
}

// TestLeader_Failover: kill -9 of the ingester that publishes, then one that hangs and wakes up again, then one that is
// stopped. Each time another goes on, no client is disconnected, and nothing older comes after something newer.
func TestLeader_Failover(t *testing.T) {
	f := startElectorate(t)
	first := f.launch(t)
	second := f.launch(t)
	if !first.leads() || second.leads() {
		t.Fatalf("the first to come leads: %v, the second: %v", first.leads(), second.leads())
	}
	f.watchChannel(t)
	clients := f.watchers(t, 5)
	epoch := clients.await(t, "0")

	first.Signal(t, syscall.SIGKILL)
	epoch = clients.await(t, epoch)
	if !second.leads() {
		t.Error("the second does not say that it leads")
	}

	third := f.launch(t)
	second.Signal(t, syscall.SIGSTOP)
	epoch = clients.await(t, epoch)
	second.Signal(t, syscall.SIGCONT)
	programs.Until(t, "a snapshot of the one that slept to be refused", func() bool {
		return gaugeAt(second.metrics, "sightglass_publish_fenced_total") == 1
	})
	if second.leads() {
		t.Error("it leads all the same")
	}
	if !third.leads() {
		t.Error("the third does not lead any more")
	}

	third.Stop(t)
	clients.await(t, epoch)
	if !second.leads() {
		t.Error("the second does not lead again")
	}
	t.Logf("the longest silence while the leader changed: %d ms", clients.silence.Load())
}

// TestLeader_RedisRestartsEmpty: it has forgotten the leader. Of two ingesters one goes on, under a
// later epoch than before.
func TestLeader_RedisRestartsEmpty(t *testing.T) {
	f := startElectorate(t)
	a, b := f.launch(t), f.launch(t)
	clients := f.watchers(t, 2)
	epoch := clients.await(t, "0")
	f.redis.Kill()
	f.redis.Start()
	clients.await(t, epoch)
	programs.Until(t, "one to lead", func() bool { return a.leads() != b.leads() })
}

// TestLeader_RedisLosesAnElection: a failover to a replica that was behind, or a start from an old copy, takes Redis back to before
// the last election. The earlier leader finds its epoch there again; edges have seen a later one and reject it. The later
// leader ends that.
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
	forget(contract.KeyLeader) // it is cut off, and its lease runs out
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
	programs.Until(t, "the first to know", func() bool {
		tick(first)
		return value(t, firstReg, "sightglass_publish_fenced_total") == 1
	})
}

// TestLeader_NamesUnusableEpoch: somebody has written over the key, and nothing can be later.
func TestLeader_NamesUnusableEpoch(t *testing.T) {
	server := redistest.Start(t)
	client := server.Client()
	if err := client.Set(t.Context(), contract.KeyEpoch, "99999999999999999999999999", 0).Err(); err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	p, reg, stop := publisherWith(t, server.URL(), time.Second, slog.New(slog.NewTextHandler(&said, nil)))
	programs.Until(t, "the failure", func() bool { return value(t, reg, "sightglass_publish_failures_total") > 0 })
	if err := client.Del(t.Context(), contract.KeyEpoch).Err(); err != nil {
		t.Fatal(err)
	}
	programs.Until(t, "the election", func() bool { tick(p); return value(t, reg, "sightglass_leader_elections_total") == 1 })
	stop()
	if text := said.String(); !strings.Contains(text, contract.KeyEpoch) || !strings.Contains(text, "DEL") {
		t.Errorf("it says %q, want the key and what to do", text)
	}
}

// epochIn is the epoch of the latest election, as Redis has it.
func epochIn(t *testing.T, server *redistest.Server) contract.Epoch {
	t.Helper()
	return contract.Epoch(server.Client().Get(t.Context(), contract.KeyEpoch).Val())
}
