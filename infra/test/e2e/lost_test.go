package e2e

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/prometheus/client_golang/prometheus"

	"sightglass/edge/hub"
	"sightglass/infra/test/internal/programs"
	"sightglass/infra/test/internal/redistest"
	"sightglass/infra/test/internal/wstest"
	"sightglass/ingester"
	"sightglass/ingester/testblock"
	"sightglass/shared/contract"
	"sightglass/shared/history"
)

// A screen records every snapshot that a client receives, in either protocol.
type screen struct {
	mu    sync.Mutex
	shown []contract.Snapshot
	types []string // message type of each: keyframe or delta; empty in the plain protocol
}

// last returns the newest snapshot; the zero value before the first.
func (s *screen) last() (last contract.Snapshot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.shown); n > 0 {
		last = s.shown[n-1]
	}
	return last
}

// watch follows an edge until the test ends. It fails the test if the connection ends before.
func watch(t *testing.T, addr string, delta bool) *screen {
	t.Helper()
	var options websocket.DialOptions
	if delta {
		options.Subprotocols = []string{hub.DeltaProtocol}
	}
	conn := wstest.MustDial(t, wstest.URL(addr), nil, options)
	s, ctx, over := new(screen), t.Context(), make(chan struct{})
	go func() {
		defer close(over)
		var replica contract.Replica
		for {
			message, err := wstest.Read(ctx, conn)
			if ctx.Err() != nil {
				return
			}
			var shown *contract.Snapshot
			kind := ""
			if err == nil && delta {
				shown, err = replica.Apply(message)
				kind, _, _ = strings.Cut(strings.TrimPrefix(string(message), `{"type":"`), `"`)
			} else if err == nil {
				shown, err = contract.DecodeSnapshot(message)
			}
			if err != nil {
				t.Errorf("delta %v: got %v, want messages until the test's end", delta, err)
				return
			}
			s.mu.Lock()
			s.shown, s.types = append(s.shown, *shown), append(s.types, kind)
			s.mu.Unlock()
		}
	}()
	t.Cleanup(func() { conn.CloseNow(); <-over })
	return s
}

// setEpochAhead makes Redis grant epochs a day ahead of the clock, as after a leader with a wrong clock.
func setEpochAhead(t *testing.T, server *redistest.Server) (ahead contract.Epoch) {
	t.Helper()
	ahead = contract.EpochAt(time.Now().Add(24 * time.Hour))
	if err := server.Client().Set(t.Context(), contract.KeyEpoch, string(ahead), 0).Err(); err != nil {
		t.Fatal(err)
	}
	return ahead
}

func flush(t *testing.T, server *redistest.Server) {
	t.Helper()
	if err := server.Client().FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
}

// TestEdge_AcceptsLowerEpochWithoutRestart: Redis is emptied while no ingester runs, and the next ingester's clock is a
// day behind the epoch that edges have seen. They mark the old price as stale, and then relay the new one without a
// restart.
func TestEdge_AcceptsLowerEpochWithoutRestart(t *testing.T) {
	server := redistest.Start(t)
	ahead := setEpochAhead(t, server)
	program, edge := programs.Build(t, "ingester", "ingester"), programs.Build(t, "edge", "edge")
	zmq, addr, internal, edgeMetrics := "tcp://"+programs.FreeAddr(t), programs.FreeAddr(t), programs.FreeAddr(t), programs.FreeAddr(t)
	run := func() *programs.Process {
		return programs.Launch(t, program, "run", "--zmq", zmq, "--redis", server.URL(), "--internal-listen", internal)
	}
	first := run()
	programs.Launch(t, edge, "run", "--redis", server.URL(), "--listen", addr, "--internal-listen", edgeMetrics)
	programs.Until(t, "the edge to be ready", func() bool { return programs.Ready(addr) })
	screens := []*screen{watch(t, addr, false), watch(t, addr, true)}
	shows := func(met func(contract.Snapshot) bool) func() bool {
		return func() bool { return met(screens[0].last()) && met(screens[1].last()) }
	}
	programs.Until(t, "the higher epoch", shows(func(s contract.Snapshot) bool { return s.Epoch.After(ahead) }))
	if behind := gaugeAt(internal, "sightglass_clock_behind_seconds"); behind < 80_000 {
		t.Errorf("got sightglass_clock_behind_seconds %v, want about a day", behind)
	}
	first.Stop(t)
	if text := first.Output(); !strings.Contains(text, "the clock is behind the last epoch") {
		t.Errorf("got log\n%s\nwant that the clock is behind", text)
	}
	flush(t, server)
	second := run()
	programs.Until(t, "the lower epoch", shows(func(s contract.Snapshot) bool { return ahead.After(s.Epoch) && s.Epoch != "" }))
	programs.Until(t, "the edge to be ready again", func() bool { return programs.Ready(addr) })
	programs.Until(t, "deltas of the lower epoch", func() bool {
		s := screens[1].last()
		return s.Status != contract.Stale && ahead.After(s.Epoch) && s.Seq > 22
	})
	for _, s := range screens {
		s.mu.Lock()
		stale, back := false, 0
		for i := range s.shown[1:] {
			before, now := s.shown[i], s.shown[i+1]
			stale = stale || before.Status == contract.Stale
			switch {
			case before.Epoch.After(now.Epoch):
				back++
				if kind := s.types[i+1]; kind != "" && kind != "keyframe" {
					t.Errorf("got a %s first in the lower epoch, want a keyframe", kind)
				}
			case now.Status != contract.Stale && !now.NewerThan(&before) && before.Status != contract.Stale:
				t.Errorf("got epoch %s seq %d after epoch %s seq %d, want a newer one", now.Epoch, now.Seq, before.Epoch, before.Seq)
			}
		}
		if !stale || back != 1 {
			t.Errorf("got stale %v and %d steps back, want the old price marked as stale and one step back", stale, back)
		}
		s.mu.Unlock()
	}
	if n := gaugeAt(edgeMetrics, "sightglass_feed_steps_back_total"); n != 1 {
		t.Errorf("got sightglass_feed_steps_back_total %v, want 1", n)
	}
	if n := gaugeAt(internal, "sightglass_publish_epoch_missing_total"); n != 1 {
		t.Errorf("got sightglass_publish_epoch_missing_total %v, want 1", n)
	}
	second.Stop(t)
	if text := second.Output(); !strings.Contains(text, "redis held no epoch") {
		t.Errorf("got log\n%s\nwant that redis held no epoch", text)
	}
}

// TestEdge_HidesLowerEpochWhileHigherReturns: Redis is emptied while the leader hangs. Another ingester is elected
// under a lower epoch. The first one resumes and claims an epoch above both; no edge has relayed the lower one.
func TestEdge_HidesLowerEpochWhileHigherReturns(t *testing.T) {
	f := startCandidates(t)
	ahead := setEpochAhead(t, f.redis)
	first := f.launch(t)
	clients := f.watchers(t, 2) // they fail the test if a lower epoch follows a higher one
	epoch := clients.await(t, ahead)

	first.Signal(t, syscall.SIGSTOP)
	flush(t, f.redis)
	second := &candidate{metrics: programs.FreeAddr(t)}
	second.Process = programs.Launch(t, f.ingester, "run", "--zmq", f.zmq, "--redis", f.redis.URL(), "--internal-listen", second.metrics)
	programs.Until(t, "the second to publish under a lower epoch", func() bool {
		s := latest(t, f.redis)
		return s != nil && ahead.After(s.Epoch)
	})
	first.Signal(t, syscall.SIGCONT)
	clients.await(t, epoch)
	programs.Until(t, "the second to stand by", func() bool { return first.leads() && !second.leads() })
	if n := gaugeAt(first.metrics, `sightglass_publish_fenced_total`); n != 1 {
		t.Errorf("got %v fenced snapshots of the first, want 1", n)
	}
}

// TestIngester_RecoversFromLostEpoch: the leader detects and logs that the key is missing, and publishes under a higher
// epoch.
func TestIngester_RecoversFromLostEpoch(t *testing.T) {
	server := redistest.Start(t)
	var logged bytes.Buffer
	p, reg, stop := publisherWith(t, server.URL(), contract.Lease, slog.New(slog.NewTextHandler(&logged, nil)))
	stop = ticking(p, stop)
	programs.Until(t, "a snapshot", func() bool { return latest(t, server) != nil })
	epoch := latest(t, server).Epoch
	if err := server.Client().Del(t.Context(), contract.KeyEpoch).Err(); err != nil {
		t.Fatal(err)
	}
	programs.Until(t, "a higher epoch", func() bool { s := latest(t, server); return s != nil && s.Epoch.After(epoch) })
	stop()
	if epochs, histories := lostKeys(t, reg, "epoch"), lostKeys(t, reg, "history"); epochs != 1 || histories != 0 {
		t.Errorf("got %v epochs and %v histories counted as lost, want one epoch", epochs, histories)
	}
	for _, text := range []string{"redis has lost the epoch", "redis has lost its data"} {
		if !strings.Contains(logged.String(), text) {
			t.Errorf("got log without %q:\n%s", text, logged.String())
		}
	}
}

// lostKeys returns how often a publisher found a key missing.
func lostKeys(t *testing.T, reg prometheus.Gatherer, key string) (times float64) {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			if family.GetName() == "sightglass_publish_lost_keys_total" && m.GetLabel()[0].GetValue() == key {
				times += m.GetCounter().GetValue()
			}
		}
	}
	return times
}

// TestIngester_WarnsOfEvictingRedis: a shared Redis evicts the least recently used keys. Ingester and probe warn of it,
// and the ingester detects that the history is missing.
func TestIngester_WarnsOfEvictingRedis(t *testing.T) {
	server := redistest.New(t, "", "--maxmemory", "8mb", "--maxmemory-policy", "allkeys-lru", "--maxmemory-samples", "64")
	server.Start()
	client := server.Client()
	expectProbe := func(url string, verdict ingester.Verdict, text string) {
		t.Helper()
		o := ingester.Defaults()
		o.Redis, o.ZMQ = url, nil
		for _, f := range ingester.Probe(t.Context(), o) {
			if f.Subject == "redis" && f.Verdict == verdict && strings.Contains(f.Text, text) {
				return
			}
		}
		t.Errorf("got no finding with verdict %s and text %q", verdict, text)
	}
	expectProbe(server.URL(), ingester.Poor, "maxmemory-policy is allkeys-lru")

	var logged bytes.Buffer
	p, reg, stop := publisherWith(t, server.URL(), contract.Lease, slog.New(slog.NewTextHandler(&logged, nil)))
	stop = ticking(p, stop)
	awaitElection(t, reg)
	record(p, priced(began, 100))
	expectStored(t, client, 100)
	programs.Until(t, "the warning", func() bool { return value(t, reg, "sightglass_redis_evicts") == 1 })
	for n := 0; client.Exists(t.Context(), history.KeyRecent).Val() == 1; n++ {
		if err := client.Set(t.Context(), "other:"+strconv.Itoa(n), strings.Repeat("x", 50_000), 0).Err(); err != nil {
			t.Fatal(err)
		}
	}
	record(p, priced(began+10, 110))
	programs.Until(t, "the loss to be noticed", func() bool { return lostKeys(t, reg, "history") == 1 })
	record(p, priced(began+20, 120))
	expectStored(t, client, 100, 110, 120) // the entry written last is rewritten too
	stop()
	for _, text := range []string{"redis may evict keys", "allkeys-lru", "redis has lost the history"} {
		if !strings.Contains(logged.String(), text) {
			t.Errorf("got log without %q:\n%s", text, logged.String())
		}
	}

	if err := client.ConfigSet(t.Context(), "maxmemory-policy", "noeviction").Err(); err != nil {
		t.Fatal(err)
	}
	flush(t, server) // otherwise it is full
	expectProbe(server.URL(), ingester.Good, "evicts no keys")
	if err := client.ConfigSet(t.Context(), "maxmemory", "0").Err(); err != nil {
		t.Fatal(err)
	}
	if err := client.Do(t.Context(), "ACL", "SETUSER", "ingester", "on", ">secret", "~*", "&*", "+@all", "-info", "-config").Err(); err != nil {
		t.Fatal(err)
	}
	expectProbe(strings.Replace(server.URL(), "//", "//ingester:secret@", 1), ingester.Poor, "cannot check whether it evicts keys")
}

// An unsavable is a Redis that rejects writes while it cannot save its data.
type unsavable struct {
	*redistest.Server
	t    *testing.T
	file string // where it saves its data
}

func startUnsavable(t *testing.T) *unsavable {
	t.Helper()
	dir := t.TempDir()
	server := redistest.New(t, "", "--dir", dir, "--save", "3600 1", "--stop-writes-on-bgsave-error", "yes")
	server.Start()
	return &unsavable{server, t, filepath.Join(dir, "dump.rdb")}
}

// breakDisk puts a folder in the place of its file, so that saving fails.
func (u *unsavable) breakDisk() {
	u.t.Helper()
	if err := os.RemoveAll(u.file); err != nil {
		u.t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(u.file, "obstacle"), 0o700); err != nil {
		u.t.Fatal(err)
	}
	u.save("err")
}

// mendDisk removes the folder.
func (u *unsavable) mendDisk() {
	u.t.Helper()
	if err := os.RemoveAll(u.file); err != nil {
		u.t.Fatal(err)
	}
	u.save("ok")
}

func (u *unsavable) save(status string) {
	u.t.Helper()
	client := u.Client()
	programs.Until(u.t, "a save that ends with "+status, func() bool {
		client.BgSave(u.t.Context()) // a save may be in progress
		info := client.Info(u.t.Context(), "persistence").Val()
		return strings.Contains(info, "rdb_last_bgsave_status:"+status) && strings.Contains(info, "rdb_bgsave_in_progress:0")
	})
}

// TestIngester_RecoversFromRejectedWrites: Redis cannot save its data (MISCONF). The leader retries and logs the cause,
// and the edge marks the price as stale. Once the disk works both recover without a restart, in the same epoch.
func TestIngester_RecoversFromRejectedWrites(t *testing.T) {
	server := startUnsavable(t)
	program, edge := programs.Build(t, "ingester", "ingester"), programs.Build(t, "edge", "edge")
	zmq, addr, internal := "tcp://"+programs.FreeAddr(t), programs.FreeAddr(t), programs.FreeAddr(t)
	programs.Launch(t, program, "replay", "--zmq", zmq, "--rate", "100", "--loop", testblock.Path(t, testblock.Block574200))
	in := programs.Launch(t, program, "run", "--zmq", zmq, "--redis", server.URL(), "--internal-listen", internal)
	programs.Launch(t, edge, "run", "--redis", server.URL(), "--listen", addr)
	ready := func() bool { return programs.Ready(addr) && programs.Ready(internal) }
	programs.Until(t, "both to be ready", ready)
	s := watch(t, addr, true)

	server.breakDisk()
	programs.Until(t, "the price to be stale", func() bool { return s.last().Status == contract.Stale })
	epoch := s.last().Epoch
	programs.Until(t, "the ingester not to lead", func() bool { return gaugeAt(internal, "sightglass_leader") == 0 })
	programs.Until(t, "the cause in /readyz", func() bool {
		answer, err := http.Get("http://" + internal + "/readyz")
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		text, err := io.ReadAll(answer.Body)
		return err == nil && answer.StatusCode == http.StatusServiceUnavailable && strings.Contains(string(text), "MISCONF")
	})
	programs.Until(t, "the edge not to be ready", func() bool { return !programs.Ready(addr) })
	if n := gaugeAt(internal, "sightglass_publish_failures_total"); n < 6 {
		t.Errorf("got %v failures counted, want one per tick", n)
	}
	probe := ingester.Defaults()
	probe.Redis, probe.ZMQ = server.URL(), nil
	if f := ingester.Probe(t.Context(), probe)[0]; f.Verdict != ingester.Bad || !strings.Contains(f.Text, "redis returned an error: MISCONF") || strings.Contains(f.Text, "is it running") {
		t.Errorf("got %+v, want a bad finding with Redis's answer", f)
	}

	server.mendDisk()
	programs.Until(t, "snapshots of the same epoch", func() bool { last := s.last(); return last.Status != contract.Stale && last.Epoch == epoch })
	programs.Until(t, "both to be ready again", ready)
	in.Stop(t)
	for _, text := range []string{"redis returned an error: MISCONF", "stop-writes-on-bgsave-error no", "redis accepts snapshots again"} {
		if !strings.Contains(in.Output(), text) {
			t.Errorf("got log without %q:\n%s", text, in.Output())
		}
	}
}

// TestIngester_WritesHistoryAfterRejectedWrites: entries from the time of rejected writes are written afterwards.
func TestIngester_WritesHistoryAfterRejectedWrites(t *testing.T) {
	server := startUnsavable(t)
	p, reg, stop := publisher(t, server.Server)
	defer stop()
	record(p, priced(began, 100))
	expectStored(t, server.Client(), 100)
	server.breakDisk()
	record(p, priced(began+10, 110))
	record(p, priced(began+20, 120))
	programs.Until(t, "rejected writes", func() bool { return value(t, reg, "sightglass_publish_failures_total") > 2 })
	server.mendDisk()
	expectStored(t, server.Client(), 100, 110, 120)
	if n := value(t, reg, "sightglass_publish_lost_keys_total"); n != 0 {
		t.Errorf("got %v keys counted as lost, want none", n)
	}
}
