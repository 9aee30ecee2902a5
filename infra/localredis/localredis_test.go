package localredis

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"

	"sightglass/shared/contract"
	"sightglass/shared/history"
	"sightglass/shared/logtest"
	"sightglass/shared/redisurl"
)

// The environment variable of a process that TestMain turns into a program with a Redis in a directory.
const childDir = "SIGHTGLASS_TEST_LOCALREDIS"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		r, err := Open(context.Background(), Options{Dir: dir, Version: "child", Log: slog.Default(), Metrics: prometheus.NewRegistry()})
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println(r.Socket())
		r.Run(context.Background()) //nolint:errcheck // it is killed
	}
	logging.Disable() // it logs each failed dial to a Redis that is starting
	os.Exit(m.Run())
}

const (
	inProcess = "in-process"
	server    = "redis-server"
)

// kinds runs a test with each kind of server.
func kinds(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	for _, kind := range []string{inProcess, server} {
		t.Run(kind, func(t *testing.T) {
			use(t, kind)
			test(t)
		})
	}
}

// use selects the kind of the servers that the test opens from now on.
func use(t *testing.T, kind string) {
	t.Helper()
	if kind == inProcess {
		t.Setenv("PATH", t.TempDir())
	} else if program, note := serverProgram(t.Context()); program == "" {
		t.Fatalf("%s: `make test` installs it", note)
	}
}

func options(dir string) Options {
	return Options{Dir: dir, Version: "test", Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry()}
}

func open(t *testing.T, dir string) *Redis {
	t.Helper()
	r, err := Open(t.Context(), options(dir))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// fill writes the keys that outlive a restart, and the leases, which do not matter.
func fill(t *testing.T, client *redis.Client, epoch int) {
	t.Helper()
	ctx := t.Context()
	_, err := client.TxPipelined(ctx, func(p redis.Pipeliner) error {
		p.Set(ctx, contract.KeyEpoch, epoch, 0)
		p.Set(ctx, contract.KeyEngine, "\x00state\xff", time.Hour)
		p.Set(ctx, contract.KeyLeader, epoch, time.Hour)
		return nil
	})
	entry := history.Entry{Timestamp: 10, Price: 1, Low: 1, High: 1, Confidence: 1}
	later := history.Entry{Timestamp: 20, Price: 2, Low: 2, High: 2, Confidence: 1}
	_, leaseErr := history.Acquire(ctx, client, "a backfill", time.Hour)
	if err := errors.Join(
		err, leaseErr, history.Recent.Write(ctx, client, entry, later), history.Upgrade(ctx, client),
		history.AddBlocks(ctx, client, []history.Block{{Entry: history.Entry{Timestamp: 10, Price: float64(epoch)}, Height: 700}}),
		history.Progress{Network: "main", From: 1, To: int64(epoch)}.Write(ctx, client),
	); err != nil {
		t.Fatal(err)
	}
}

// expectFilled fails unless a Redis has the keys of fill, and no leases.
func expectFilled(t *testing.T, r *Redis, epoch int) {
	t.Helper()
	ctx := t.Context()
	got := fmt.Sprintf("%s %q %d", r.client.Get(ctx, contract.KeyEpoch).Val(), r.client.Get(ctx, contract.KeyEngine).Val(),
		r.client.Exists(ctx, contract.KeyLeader, history.KeyLease).Val())
	if want := fmt.Sprintf(`%d "\x00state\xff" 0`, epoch); got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
	candle := fmt.Sprintf("[0,%[1]d.00,%[1]d.00,%[1]d.00,%[1]d.00,0.000,1,700]", epoch)
	for key, want := range map[string][]redis.Z{
		history.KeyRecent: {{Score: 10, Member: "[10,1.00,1.00,1.00,1.000]"}, {Score: 20, Member: "[20,2.00,2.00,2.00,1.000]"}},
		history.KeyBlocks: {{Score: 700, Member: fmt.Sprintf("[10,%d.00,0.00,0.00,0.000,700]", epoch)}},
		history.KeyHours:  {{Score: 0, Member: candle}},
		history.KeyDays:   {{Score: 0, Member: candle}},
	} {
		if rows := r.client.ZRangeWithScores(ctx, key, 0, -1).Val(); !slices.Equal(rows, want) {
			t.Errorf("%s: got %v, want %v", key, rows, want)
		}
	}
	n, err := history.CheckSchema(ctx, r.client)
	p, progressErr := history.ReadProgress(ctx, r.client)
	if err := errors.Join(err, progressErr); err != nil || n != history.Schema || p == nil || p.To != int64(epoch) {
		t.Errorf("got schema %d and progress %v, %v, want %d and the last one", n, p, err, history.Schema)
	}
}

func TestOpen_KeepsKeys(t *testing.T) {
	kinds(t, func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "state", "sightglass")
		for epoch := 1; epoch <= 2; epoch++ {
			r := open(t, dir)
			fill(t, r.client, epoch)
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			if err := r.Run(ctx); err != nil {
				t.Fatal(err)
			}
			r = open(t, dir)
			expectFilled(t, r, epoch)
			if err := r.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("got %v, %v, want a directory for this user only", info, err)
		}
	})
}

// TestSave_SeriesOnDemand: the series are in a file of their own, which a frequent save leaves as it is.
func TestSave_SeriesOnDemand(t *testing.T) {
	use(t, inProcess)
	dir := t.TempDir()
	r := open(t, dir)
	defer r.Close()
	fill(t, r.client, 1)
	if err := r.save(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, seriesName)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v, want no file of the series", err)
	}
	if err := r.save(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	k, err := readKept(dir)
	if err != nil || len(k.keys.History) != 2 || len(k.series.Series) != 3 || len(k.series.Series[history.KeyHours]) != 1 || len(k.series.Values) != 2 {
		t.Errorf("got %+v, %+v, %v, want all keys", k.keys, k.series, err)
	}
}

// TestOpen_InstalledServerTakesOver: redis-server is installed after the in-process one was used, and then removed.
func TestOpen_InstalledServerTakesOver(t *testing.T) {
	dir := t.TempDir()
	path := os.Getenv("PATH")
	use(t, inProcess)
	r := open(t, dir)
	fill(t, r.client, 1)
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", path)
	for range 2 {
		r = open(t, dir)
		expectFilled(t, r, 1)
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
	}
	use(t, inProcess)
	if _, err := Open(t.Context(), options(dir)); err == nil || !strings.Contains(err.Error(), "written by redis-server, which is not installed: install it") {
		t.Errorf("got %v, want redis-server's absence", err)
	}
}

// program runs this test's program as another process with a Redis, and returns its socket.
func program(t *testing.T, dir string) (cmd *exec.Cmd, socket string) {
	t.Helper()
	cmd = exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childDir+"="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() }) //nolint:errcheck // the test may have ended it
	line := make([]byte, 1000)
	n, err := out.Read(line)
	if err != nil || line[0] != '/' {
		t.Fatalf("got %q, %v, want a socket", line[:n], err)
	}
	return cmd, strings.TrimSpace(string(line[:n]))
}

// TestOpen_AfterKill: a program is killed. Its redis-server ends by itself, and the next program waits for that.
func TestOpen_AfterKill(t *testing.T) {
	use(t, server)
	dir := t.TempDir()
	for epoch := 1; epoch <= 3; epoch++ {
		first, socket := program(t, dir)
		client := redis.NewClient(&redis.Options{Network: "unix", Addr: socket})
		fill(t, client, epoch)
		client.Close()
		if err := first.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		first.Wait() //nolint:errcheck // it was killed
		r := open(t, dir)
		expectFilled(t, r, epoch)
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestOpen_SecondProgramIsRefused(t *testing.T) {
	kinds(t, func(t *testing.T) {
		dir := t.TempDir()
		first, _ := program(t, dir)
		_, err := Open(t.Context(), options(dir))
		want := fmt.Sprintf("the data directory %s is in use by process %d (sightglass child on ", dir, first.Process.Pid)
		if err == nil || !strings.HasPrefix(err.Error(), want) || !strings.HasSuffix(err.Error(), "choose another directory with --data-dir") {
			t.Errorf("got %v, want %s...", err, want)
		}
	})
}

func gzipped(t *testing.T, text string) string {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestOpen_RejectsDirectory: directories that must not be used, and are left as they are.
func TestOpen_RejectsDirectory(t *testing.T) {
	good := gzipped(t, `{"format":1,"epoch":"7"}`)
	for name, c := range map[string]struct{ kind, file, text, want string }{
		"newer":                 {server, metaName, `{"format":9,"version":"v9.0.0","network":"main"}`, "is of a newer version, v9.0.0 (format 9, this program knows 1): use that version"},
		"damaged":               {server, metaName, `{"format":1,"netw`, "is damaged (unexpected end of JSON input"},
		"empty":                 {server, metaName, ``, "is damaged"},
		"no network":            {server, metaName, `{"format":1}`, "is damaged (want a format and a network): restore it from a copy"},
		"newer keys":            {inProcess, savedName, gzipped(t, `{"format":2,"version":"v9.0.0"}`), "is of a newer version, v9.0.0"},
		"cut keys":              {inProcess, savedName, good[:len(good)-3], "is damaged (unexpected EOF): restore it"},
		"changed keys":          {inProcess, savedName, good[:len(good)-8] + "\x00" + good[len(good)-7:], "is damaged (gzip: invalid checksum)"},
		"newer series":          {inProcess, seriesName, gzipped(t, `{"format":2,"version":"v9.0.0"}`), "is of a newer version, v9.0.0"},
		"cut series, a server":  {server, seriesName, good[:len(good)-3], "is damaged (unexpected EOF): restore it"},
		"no keys":               {inProcess, savedName, "", "is damaged (EOF)"},
		"keys of another kind":  {server, savedName, "hello", "is damaged"},
		"damaged appendonly":    {server, "appendonlydir/appendonly.aof.manifest", "hello\n", "does not start on the data directory"},
		"no manifest":           {server, "appendonlydir/appendonly.aof.1.incr.aof", "hello", "appendonlydir is damaged (the manifest is missing): restore it"},
		"keys without a format": {inProcess, savedName, gzipped(t, "null"), "is damaged (want a format)"},
		"cut keys, a server":    {server, savedName, good[:len(good)-3], "is damaged (unexpected EOF): restore it"},
		"appendonly, no server": {inProcess, "appendonlydir/appendonly.aof.manifest", "", "was written by redis-server, which is not installed: install it"},
	} {
		t.Run(name, func(t *testing.T) {
			use(t, c.kind)
			dir := t.TempDir()
			path := filepath.Join(dir, c.file)
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := Open(t.Context(), options(dir)); err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "--data-dir") {
				t.Errorf("got %v\nwant the directory, what to do, and %q", err, c.want)
			}
			if now, err := os.ReadFile(path); err != nil || string(now) != c.text {
				t.Errorf("got %q, %v in the file, want it unchanged", now, err)
			}
			files, err := os.ReadDir(dir)
			if err != nil || len(files) != 2 {
				t.Errorf("got files %v, %v; want the one and the lock", files, err)
			}
		})
	}
}

func TestCheckNetwork_RejectsAnother(t *testing.T) {
	use(t, inProcess)
	dir := t.TempDir()
	r := open(t, dir)
	if err := errors.Join(r.CheckNetwork("main"), r.CheckNetwork("main"), r.Close()); err != nil {
		t.Fatal(err)
	}
	r = open(t, dir)
	defer r.Close()
	want := "has the history of the network main, and the node is on signet: connect to a node of main, or choose another directory with --data-dir"
	if err := r.CheckNetwork("signet"); err == nil || !strings.HasSuffix(err.Error(), want) {
		t.Errorf("got %v, want ...%s", err, want)
	}
	if err := r.CheckNetwork("main"); err != nil {
		t.Errorf("got %v, want the network to be unchanged", err)
	}
}

func TestOpen_LongDirectory(t *testing.T) {
	kinds(t, func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), strings.Repeat("long", 30))
		r := open(t, dir)
		if len(r.Socket()) > maxSocket {
			t.Errorf("got a socket's path of %d bytes, want %d at most", len(r.Socket()), maxSocket)
		}
		fill(t, r.client, 1)
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(filepath.Dir(r.Socket())); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("got %v, want the socket's directory removed", err)
		}
	})
}

// TestOpen_OddNames: the directory's name has characters that mean something in a URL.
func TestOpen_OddNames(t *testing.T) {
	kinds(t, func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "a b%20?c#d@e:f'\"")
		r := open(t, dir)
		client, err := redisurl.Open(r.URL(), redisurl.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		if err := client.Set(t.Context(), contract.KeyEpoch, 1, 0).Err(); err != nil {
			t.Errorf("got %v from %s, want it to be the Redis in the directory", err, r.URL())
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
}

// TestRunning_FindsSocket: also where the socket is not in the data directory; only while a program runs.
func TestRunning_FindsSocket(t *testing.T) {
	kinds(t, func(t *testing.T) {
		for _, name := range []string{"short", strings.Repeat("long", 30), "a b%20?c#d@e"} {
			dir := filepath.Join(t.TempDir(), name)
			expectNone := func() {
				t.Helper()
				if url, err := Running(t.Context(), dir); err == nil || !strings.HasPrefix(err.Error(), "no sightglass runs with the data directory "+dir) {
					t.Errorf("got %q, %v, want an error", url, err)
				}
			}
			expectNone()
			r := open(t, dir)
			if url, err := Running(t.Context(), dir); err != nil || url != r.URL() {
				t.Errorf("got %q, %v, want %q", url, err, r.URL())
			}
			if err := r.Close(); err != nil {
				t.Error(err)
			}
			expectNone()
		}
	})
}

func TestOpen_EndsWithContext(t *testing.T) {
	kinds(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		dir := t.TempDir()
		if _, err := Open(ctx, options(dir)); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want %v", err, context.Canceled)
		}
		if err := open(t, dir).Close(); err != nil {
			t.Error(err)
		}
	})
}

// TestOpen_OldServer: a Redis whose scripts cannot do what the ingester's need.
func TestOpen_OldServer(t *testing.T) {
	dir := t.TempDir()
	script := "#!/bin/sh\necho 'Redis server v=6.0.16 sha=00000000:0 malloc=jemalloc-5.2.1 bits=64'\n"
	if err := os.WriteFile(filepath.Join(dir, "redis-server"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir)
	r := open(t, t.TempDir())
	defer r.Close()
	if got := r.String(); !strings.Contains(got, "in-process Redis") || !strings.Contains(got, "redis-server 6.0.16 is older than version 7") {
		t.Errorf("got %q, want the in-process one, and why", got)
	}
}

func TestOpen_UnwritableDirectory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, dir := range map[string]string{"below a file": filepath.Join(file, "dir"), "of the kernel": "/proc/sightglass"} {
		if _, err := Open(t.Context(), options(dir)); err == nil || !strings.Contains(err.Error(), "cannot be written: ") || !strings.Contains(err.Error(), "--data-dir") {
			t.Errorf("%s: got %v, want an error that names the setting", name, err)
		}
	}
}

// until polls a condition.
func until(t *testing.T, what string, met func() bool) {
	t.Helper()
	deadline := time.After(time.Minute)
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	for !met() {
		select {
		case <-deadline:
			t.Fatalf("waited a minute for %s", what)
		case <-poll.C:
		}
	}
}

// running runs a Redis until stop, which returns Run's error, or until the test ends.
func running(t *testing.T, dir string) (r *Redis, log *logtest.Log, stop func() error) {
	t.Helper()
	log = new(logtest.Log)
	o := options(dir)
	o.Log = slog.New(slog.NewJSONHandler(log, nil))
	r, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	stop = sync.OnceValue(func() error { cancel(); return <-ended })
	t.Cleanup(func() { stop() }) //nolint:errcheck // a test that cares has stopped it before
	return r, log, stop
}

func TestRun_RestartsServer(t *testing.T) {
	use(t, server)
	r, log, stop := running(t, t.TempDir())
	fill(t, r.client, 1)
	if err := r.client.Del(t.Context(), contract.KeyLeader, history.KeyLease).Err(); err != nil {
		t.Fatal(err)
	}
	until(t, "the keys to be synced", func() bool {
		return strings.Contains(r.client.Info(t.Context(), "persistence").Val(), "aof_pending_bio_fsync:0")
	})
	if err := syscall.Kill(pidOf(t, r), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	until(t, "redis-server to be started again", func() bool { return testutil.ToFloat64(r.metrics.restarts) == 1 })
	until(t, "it to respond", func() bool { return r.client.Ping(t.Context()).Err() == nil })
	expectFilled(t, r, 1)
	if n := log.Count("redis-server has ended; starting it again"); n != 1 {
		t.Errorf("got %d lines in the log about the end, want 1:\n%s", n, log)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// pidOf returns redis-server's process ID.
func pidOf(t *testing.T, r *Redis) (pid int) {
	t.Helper()
	for line := range strings.Lines(r.client.Info(t.Context(), "server").Val()) {
		if text, ok := strings.CutPrefix(line, "process_id:"); ok {
			pid, _ = strconv.Atoi(strings.TrimSpace(text)) // 0 fails below
		}
	}
	if pid <= 1 {
		t.Fatalf("got process %d", pid)
	}
	return pid
}

// TestRun_SilentServerIsReplaced: redis-server hangs.
func TestRun_SilentServerIsReplaced(t *testing.T) {
	use(t, server)
	r, _, stop := running(t, t.TempDir())
	if err := syscall.Kill(pidOf(t, r), syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	until(t, "redis-server to be started again", func() bool { return testutil.ToFloat64(r.metrics.restarts) == 1 })
	until(t, "it to respond", func() bool { return r.client.Ping(t.Context()).Err() == nil })
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// TestRun_ServerCannotBeStartedAgain: redis-server ends, and its program has been removed.
func TestRun_ServerCannotBeStartedAgain(t *testing.T) {
	use(t, server)
	program, _ := serverProgram(t.Context())
	dir := t.TempDir()
	copied := filepath.Join(dir, "redis-server")
	content, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(copied, content, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir)
	r, _, stop := running(t, t.TempDir())
	pid := pidOf(t, r)
	if err := errors.Join(os.Remove(copied), syscall.Kill(pid, syscall.SIGKILL)); err != nil {
		t.Fatal(err)
	}
	until(t, "a second attempt to start it", func() bool { return testutil.ToFloat64(r.metrics.restarts) >= 2 })
	if testutil.ToFloat64(r.metrics.saves) != 0 {
		t.Error("got a metric that everything is saved, want 0")
	}
	if err := stop(); err == nil || !strings.Contains(err.Error(), "are lost") {
		t.Errorf("got %v from Run, want what is lost", err)
	}
}

// TestRun_DeletedDirectory: the directory is deleted while it is in use.
func TestRun_DeletedDirectory(t *testing.T) {
	use(t, server)
	dir := filepath.Join(t.TempDir(), "data")
	_, log, stop := running(t, dir)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	until(t, "the log to say so", func() bool { return log.Count("the data directory was deleted") > 0 })
	if err := stop(); err == nil {
		t.Error("got no error from Run, want what is lost")
	}
}

// TestRun_FullDisk: while the disk is full, Redis accepts writes; afterwards it saves them.
func TestRun_FullDisk(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("a file system of its own, for the test to fill, needs root")
	}
	kinds(t, func(t *testing.T) {
		dir := t.TempDir()
		if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=4m"); err != nil {
			t.Skipf("no file system of its own for the test to fill: %v", err)
		}
		t.Cleanup(func() {
			if err := syscall.Unmount(dir, 0); err != nil {
				t.Error(err)
			}
		})
		r, log, stop := running(t, dir)
		fill(t, r.client, 1)
		filler := filepath.Join(dir, "filler")
		full, err := os.Create(filler)
		if err != nil {
			t.Fatal(err)
		}
		defer full.Close()
		for err == nil {
			_, err = full.Write(make([]byte, 1<<10))
		}
		// Incompressible, so that no kind has room for it in a partly used page.
		noise := make([]byte, 0, 64<<10)
		for i := range cap(noise) / 8 {
			noise = strconv.AppendUint(noise, uint64(i)*0x9E3779B97F4A7C15, 36)
		}
		until(t, "a failed save", func() bool {
			r.client.Set(t.Context(), contract.KeyEngine, noise, 0)
			return testutil.ToFloat64(r.metrics.failures) > 0
		})
		until(t, "writes to be accepted", func() bool { return r.client.Set(t.Context(), contract.KeyEpoch, 2, 0).Err() == nil })
		if !strings.Contains(log.String(), "the disk") {
			t.Errorf("got a log without the reason:\n%s", log)
		}
		if err := os.Remove(filler); err != nil {
			t.Fatal(err)
		}
		full.Close()
		until(t, "saves to succeed again", func() bool { return testutil.ToFloat64(r.metrics.saves) == 1 })
		fill(t, r.client, 3)
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		r = open(t, dir)
		expectFilled(t, r, 3)
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
	})
}
