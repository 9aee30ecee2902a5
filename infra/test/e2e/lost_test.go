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
)

// A screen is what a client shows: every snapshot that it was sent, in whichever protocol.
type screen struct {
	mu    sync.Mutex
	shown []contract.Snapshot
	types []string // of the message that made each: keyframe, delta; empty in the plain protocol
}

// last gives the newest that is shown, the zero value before the first.
func (s *screen) last() (last contract.Snapshot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.shown); n > 0 {
		last = s.shown[n-1]
	}
	return last
}

// watch follows an edge until the test ends. Its connection may not end before.
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
				shown, err = replica.Take(message)
				kind, _, _ = strings.Cut(strings.TrimPrefix(string(message), `{"type":"`), `"`)
			} else if err == nil {
				shown, err = contract.DecodeSnapshot(message)
			}
			if err != nil {
				t.Errorf("delta %v: %v", delta, err)
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

// setEpochAhead makes Redis grant epochs that are a day ahead of the clock, as one whose clock was ahead would have.
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

// TestEdge_AcceptsLowerEpochWithoutRestart: Redis is emptied while no ingester runs, and the next one's clock is a day behind the
// epoch that edges have seen. They mark the old price as stale, and then show the new one without a restart.
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
		t.Errorf("sightglass_clock_behind_seconds is %v, want about a day", behind)
	}
	first.Stop(t)
	if text := first.Output(); !strings.Contains(text, "the clock is behind the last epoch") {
		t.Errorf("the ingester says\n%s\nwant that its clock is behind", text)
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
					t.Errorf("the lower epoch begins with a %s, want a keyframe", kind)
				}
			case now.Status != contract.Stale && !now.NewerThan(&before) && before.Status != contract.Stale:
				t.Errorf("epoch %s seq %d came after epoch %s seq %d", now.Epoch, now.Seq, before.Epoch, before.Seq)
			}
		}
		if !stale || back != 1 {
			t.Errorf("stale: %v, steps back: %d; want the old price marked as stale, and one step back", stale, back)
		}
		s.mu.Unlock()
	}
	if n := gaugeAt(edgeMetrics, "sightglass_feed_steps_back_total"); n != 1 {
		t.Errorf("sightglass_feed_steps_back_total is %v, want 1", n)
	}
	if n := gaugeAt(internal, "sightglass_publish_epoch_missing_total"); n != 1 {
		t.Errorf("sightglass_publish_epoch_missing_total is %v, want 1", n)
	}
	second.Stop(t)
	if text := second.Output(); !strings.Contains(text, "redis held no epoch") {
		t.Errorf("the ingester says\n%s\nwant that Redis held no epoch", text)
	}
}

// TestEdge_HidesLowerEpochWhileHigherReturns: Redis is emptied while the leader hangs. Another ingester begins with a lower
// epoch. When the first goes on, it claims a higher one than both, and no edge has shown the lower.
func TestEdge_HidesLowerEpochWhileHigherReturns(t *testing.T) {
	f := startElectorate(t)
	ahead := setEpochAhead(t, f.redis)
	first := f.launch(t)
	clients := f.watchers(t, 2) // they fail the test if anything lower follows something higher
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
		t.Errorf("%v snapshots of the first were refused, want 1", n)
	}
}

// TestIngester_RecoversFromLostEpoch: the leader notices that the key is gone, says so, and goes on under a higher epoch.
func TestIngester_RecoversFromLostEpoch(t *testing.T) {
	server := redistest.Start(t)
	var said bytes.Buffer
	p, reg, stop := publisherWith(t, server.URL(), contract.Lease, slog.New(slog.NewTextHandler(&said, nil)))
	stop = ticking(p, stop)
	programs.Until(t, "a snapshot", func() bool { return latest(t, server) != nil })
	epoch := latest(t, server).Epoch
	if err := server.Client().Del(t.Context(), contract.KeyEpoch).Err(); err != nil {
		t.Fatal(err)
	}
	programs.Until(t, "a higher epoch", func() bool { s := latest(t, server); return s != nil && s.Epoch.After(epoch) })
	stop()
	if epochs, histories := lostKeys(t, reg, "epoch"), lostKeys(t, reg, "history"); epochs != 1 || histories != 0 {
		t.Errorf("%v epochs and %v histories were lost, want one epoch", epochs, histories)
	}
	for _, text := range []string{"redis has lost the epoch", "redis has lost its data"} {
		if !strings.Contains(said.String(), text) {
			t.Errorf("the log does not say %q:\n%s", text, said.String())
		}
	}
}

// lostKeys is how often a publisher has noticed that a key was gone.
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

// TestIngester_WarnsOfEvictingRedis: a shared Redis that takes what was used least. Ingester and probe say so beforehand, and
// the ingester notices when the history is gone.
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
		t.Errorf("no finding is %s and says %q", verdict, text)
	}
	expectProbe(server.URL(), ingester.Poor, "maxmemory-policy is allkeys-lru")

	var said bytes.Buffer
	p, reg, stop := publisherWith(t, server.URL(), contract.Lease, slog.New(slog.NewTextHandler(&said, nil)))
	stop = ticking(p, stop)
	awaitElection(t, reg)
	record(p, priced(began, 100))
	expectStored(t, client, 100)
	programs.Until(t, "the warning", func() bool { return value(t, reg, "sightglass_redis_evicts") == 1 })
	for n := 0; client.Exists(t.Context(), contract.KeyHistory).Val() == 1; n++ {
		if err := client.Set(t.Context(), "other:"+strconv.Itoa(n), strings.Repeat("x", 50_000), 0).Err(); err != nil {
			t.Fatal(err)
		}
	}
	record(p, priced(began+10, 110))
	programs.Until(t, "the loss to be noticed", func() bool { return lostKeys(t, reg, "history") == 1 })
	record(p, priced(began+20, 120))
	expectStored(t, client, 100, 110, 120) // the one that was written last is back too
	stop()
	for _, text := range []string{"redis may evict keys", "allkeys-lru", "redis has lost the history"} {
		if !strings.Contains(said.String(), text) {
			t.Errorf("the log does not say %q:\n%s", text, said.String())
		}
	}

	if err := client.ConfigSet(t.Context(), "maxmemory-policy", "noeviction").Err(); err != nil {
		t.Fatal(err)
	}
	flush(t, server) // or it is full
	expectProbe(server.URL(), ingester.Good, "evicts no keys")
	if err := client.ConfigSet(t.Context(), "maxmemory", "0").Err(); err != nil {
		t.Fatal(err)
	}
	if err := client.Do(t.Context(), "ACL", "SETUSER", "ingester", "on", ">secret", "~*", "&*", "+@all", "-info", "-config").Err(); err != nil {
		t.Fatal(err)
	}
	expectProbe(strings.Replace(server.URL(), "//", "//ingester:secret@", 1), ingester.Poor, "cannot check whether it evicts keys")
}

// An unsavable is a Redis that takes no writes while it cannot save its data.
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

// refuse puts a folder in the place of its file, so that it fails to save.
func (u *unsavable) refuse() {
	u.t.Helper()
	if err := os.RemoveAll(u.file); err != nil {
		u.t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(u.file, "obstacle"), 0o700); err != nil {
		u.t.Fatal(err)
	}
	u.save("err")
}

// mend takes it away again.
func (u *unsavable) mend() {
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
		client.BgSave(u.t.Context()) // it may be at it
		info := client.Info(u.t.Context(), "persistence").Val()
		return strings.Contains(info, "rdb_last_bgsave_status:"+status) && strings.Contains(info, "rdb_bgsave_in_progress:0")
	})
}

// TestIngester_RecoversFromRejectedWrites: Redis cannot save its data (MISCONF). The leader goes on trying and says why, the
// edge marks the price as stale; when the disk is mended both come back without a restart, in the same epoch.
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

	server.refuse()
	programs.Until(t, "the price to be stale", func() bool { return s.last().Status == contract.Stale })
	epoch := s.last().Epoch
	programs.Until(t, "the ingester not to lead", func() bool { return gaugeAt(internal, "sightglass_leader") == 0 })
	programs.Until(t, "readiness to say why", func() bool {
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
		t.Errorf("%v failures are counted, want one for each tick", n)
	}
	probe := ingester.Defaults()
	probe.Redis, probe.ZMQ = server.URL(), nil
	if f := ingester.Probe(t.Context(), probe)[0]; f.Verdict != ingester.Bad || !strings.Contains(f.Text, "redis answers: MISCONF") || strings.Contains(f.Text, "is it running") {
		t.Errorf("the probe finds %+v, want Redis's answer", f)
	}

	server.mend()
	programs.Until(t, "snapshots of the same epoch", func() bool { last := s.last(); return last.Status != contract.Stale && last.Epoch == epoch })
	programs.Until(t, "both to be ready again", ready)
	in.Stop(t)
	for _, text := range []string{"redis answers: MISCONF", "stop-writes-on-bgsave-error no", "redis accepts snapshots again"} {
		if !strings.Contains(in.Output(), text) {
			t.Errorf("the log does not say %q:\n%s", text, in.Output())
		}
	}
}

// TestIngester_WritesHistoryAfterRejectedWrites: what came while Redis took no writes is written when it does again.
func TestIngester_WritesHistoryAfterRejectedWrites(t *testing.T) {
	server := startUnsavable(t)
	p, reg, stop := publisher(t, server.Server)
	defer stop()
	record(p, priced(began, 100))
	expectStored(t, server.Client(), 100)
	server.refuse()
	record(p, priced(began+10, 110))
	record(p, priced(began+20, 120))
	programs.Until(t, "refusals", func() bool { return value(t, reg, "sightglass_publish_failures_total") > 2 })
	server.mend()
	expectStored(t, server.Client(), 100, 110, 120)
	if n := value(t, reg, "sightglass_publish_lost_keys_total"); n != 0 {
		t.Errorf("%v keys are counted as lost, want none", n)
	}
}
