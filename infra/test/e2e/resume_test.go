package e2e

import (
	"bytes"
	"context"
	"log/slog"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"sightglass/infra/test/internal/programs"
	"sightglass/infra/test/internal/redistest"
	"sightglass/ingester"
	"sightglass/ingester/payment"
	"sightglass/ingester/price"
	"sightglass/ingester/testblock"
	"sightglass/ingester/txfile"
	"sightglass/shared/contract"
)

// latest reads the newest snapshot from Redis, nil if there is none.
func latest(t *testing.T, server *redistest.Server) *contract.Snapshot {
	t.Helper()
	return server.Snapshot()
}

// ingest runs an ingester until stop is called.
func ingest(t *testing.T, zmq, redisURL string, log *slog.Logger, near float64) (stop func()) {
	t.Helper()
	o := ingester.Defaults()
	o.ZMQ, o.Redis, o.Log, o.PriceHint = []string{zmq}, redisURL, log, near
	in, err := ingester.New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- in.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// TestIngester_ResumesFromState: two ingesters in turn receive no transaction and have the price of the previous one.
func TestIngester_ResumesFromState(t *testing.T) {
	server, log, zmq := redistest.Start(t), quiet(t), "tcp://"+programs.FreeAddr(t) // no node publishes there
	client, state := server.Client(), stateOfTheBlock(t)
	if err := client.Set(t.Context(), contract.KeyEngine, state, 0).Err(); err != nil {
		t.Fatal(err)
	}
	epoch := contract.Epoch("1")
	for range 2 {
		stop := ingest(t, zmq, server.URL(), log, 0)
		programs.Until(t, "a snapshot of the restarted ingester", func() bool { s := latest(t, server); return s != nil && s.Epoch.After(epoch) })
		s := latest(t, server)
		epoch = s.Epoch
		if s.Status != contract.Live || math.Abs(s.Price/testblock.Price574200-1) > 0.01 {
			t.Errorf("got price %v (%s, confidence %v), want that of the state", s.Price, s.Status, s.Confidence)
		}
		if err := client.Del(t.Context(), contract.KeyEngine).Err(); err != nil {
			t.Fatal(err)
		}
		stop()
		if client.Exists(t.Context(), contract.KeyEngine).Val() != 1 {
			t.Error("got no state from an ingester that stopped, want one")
		}
	}
}

// TestLeader_EpochRisesAfterClockIsSetBack: the snapshot in Redis has an epoch far ahead of the clock, and is replaced.
func TestLeader_EpochRisesAfterClockIsSetBack(t *testing.T) {
	server := redistest.Start(t)
	const ahead = "9999999999999"
	if err := server.Client().Set(t.Context(), contract.KeyLatest, encode(ahead, 10), 0).Err(); err != nil {
		t.Fatal(err)
	}
	_, frames, _ := follow(t, server.URL())
	expectSeq(t, frames, ahead, 10)
	ingest(t, "tcp://"+programs.FreeAddr(t), server.URL(), quiet(t), 0)
	programs.Until(t, "an edge to accept the new leader's snapshot", func() bool { return (<-frames).Snapshot.Epoch.After(ahead) })
}

// TestIngester_PriceHintOverridesState: an operator corrects a wrong state by --price-hint.
func TestIngester_PriceHintOverridesState(t *testing.T) {
	server := redistest.Start(t)
	if err := server.Client().Set(t.Context(), contract.KeyEngine, stateOfTheBlock(t), 0).Err(); err != nil {
		t.Fatal(err)
	}
	ingest(t, "tcp://"+programs.FreeAddr(t), server.URL(), quiet(t), 9000)
	programs.Until(t, "a snapshot", func() bool { return latest(t, server) != nil })
	if s := latest(t, server); s.Price != 0 || s.Status != contract.Warming {
		t.Errorf("got price %v (%s) at the start, want no price before the first transaction", s.Price, s.Status)
	}
}

// stateOfTheBlock returns the state of an ingester that received the block two minutes ago.
func stateOfTheBlock(t *testing.T) []byte {
	t.Helper()
	file, err := txfile.Read(testblock.Path(t, testblock.Block574200), nil)
	if err != nil {
		t.Fatal(err)
	}
	engine, err := price.New(price.Options{})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	for _, tx := range file.Transactions {
		payments, _ := payment.Append(nil, tx)
		engine.Add(now.Add(-2*time.Minute), payments)
	}
	engine.Estimate(now)
	return engine.State()
}

// TestIngester_RejectsUnusableState: the ingester logs the cause and starts cold.
func TestIngester_RejectsUnusableState(t *testing.T) {
	server := redistest.Start(t)
	if err := server.Client().Set(t.Context(), contract.KeyEngine, "something else", 0).Err(); err != nil {
		t.Fatal(err)
	}
	var logged bytes.Buffer
	stop := ingest(t, "tcp://"+programs.FreeAddr(t), server.URL(), slog.New(slog.NewTextHandler(&logged, nil)), 0)
	programs.Until(t, "a snapshot", func() bool { return latest(t, server) != nil })
	if s := latest(t, server); s.Status != contract.Warming || s.Price != 0 {
		t.Errorf("got %+v, want no price", s)
	}
	stop()
	if !strings.Contains(logged.String(), "is unusable; starting cold") {
		t.Errorf("got log without the cold start:\n%s", logged.String())
	}
}
