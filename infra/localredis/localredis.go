// Package localredis runs a Redis for one program, in a data directory of the program's own.
//
// If redis-server is installed, it runs as a child process with its append-only file. Otherwise a Redis inside this process
// (miniredis) runs, and the keys that outlive it are saved to a file. Both listen on a unix socket only, which only the
// directory's owner can open.
package localredis

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/redis/go-redis/v9"

	"sightglass/shared/contract"
	"sightglass/shared/history"
)

// Options are the settings of a Redis.
type Options struct {
	Dir     string // created if it does not exist, for this user only
	Version string // of the program, noted in the directory
	Log     *slog.Logger
	Metrics prometheus.Registerer
}

// A Redis is running, and has the data directory to itself.
type Redis struct {
	opts    Options
	socket  string
	lock    *os.File
	client  *redis.Client
	backend backend
	metrics metrics
	tmp     string // the socket's directory, if it is not the data directory; removed at the end
}

// A backend is one of the two kinds of servers.
type backend interface {
	// start returns when the server responds, or cannot.
	start(ctx context.Context) error
	// run keeps the server running and its data safe until ctx ends.
	run(ctx context.Context)
	// stop saves the data and stops the server, within a second. The error says what was lost.
	stop() error
	// end stops the server if it runs. Its data do not matter.
	end()
	// String names the kind and the version.
	String() string
}

type metrics struct {
	saves    prometheus.Gauge
	failures prometheus.Counter
	restarts prometheus.Counter
}

// Open locks the data directory, checks it and starts the server. An error names what is wrong with the directory and what
// to do; then nothing in it was changed but the lock. If ctx ends meanwhile, the error is ctx's.
func Open(ctx context.Context, o Options) (*Redis, error) {
	r := &Redis{opts: o}
	with := promauto.With(o.Metrics)
	r.metrics = metrics{
		saves:    with.NewGauge(prometheus.GaugeOpts{Name: "sightglass_localredis_saves", Help: "1 while the data directory is written; 0 after a failure, such as a full disk."}),
		failures: with.NewCounter(prometheus.CounterOpts{Name: "sightglass_localredis_save_failures_total", Help: "Failed writes to the data directory."}),
		restarts: with.NewCounter(prometheus.CounterOpts{Name: "sightglass_localredis_restarts_total", Help: "Starts of redis-server after it ended or stopped responding."}),
	}
	if err := r.open(ctx); err != nil {
		if r.backend != nil {
			r.backend.end()
		}
		r.release()
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, err
	}
	r.metrics.saves.Set(1)
	return r, nil
}

func (r *Redis) open(ctx context.Context) (err error) {
	if err := os.MkdirAll(r.opts.Dir, 0o700); err != nil {
		return unwritable(r.opts.Dir, err)
	}
	if r.lock, err = lock(ctx, r.opts.Dir, r.opts.Version); err != nil {
		return err
	}
	if _, err := readMeta(r.opts.Dir); err != nil {
		return err
	}
	kept, err := readKept(r.opts.Dir)
	if err != nil {
		return err
	}
	program, note := serverProgram(ctx)
	if err := checkAppendOnly(r.opts.Dir, program != ""); err != nil {
		return err
	}
	if err := r.chooseSocket(); err != nil {
		return err
	}
	r.client = redis.NewClient(&redis.Options{
		Network: "unix", Addr: r.socket, ClientName: "sightglass-localredis", MaxRetries: -1, DialerRetries: 1,
		ContextTimeoutEnabled: true, DialTimeout: responseTimeout, ReadTimeout: responseTimeout, WriteTimeout: responseTimeout,
	})
	if program == "" {
		r.backend = &memory{r: r, note: note}
	} else {
		r.backend = &process{r: r, program: program, version: note}
	}
	if err := r.backend.start(ctx); err != nil {
		return err
	}
	if err := r.load(ctx, kept); err != nil {
		return err
	}
	// The leases of a program that was killed: while this one has the directory, no other can be the leader or backfill.
	return r.client.Del(ctx, contract.KeyLeader, history.KeyLease).Err()
}

// responseTimeout is far longer than a local Redis takes for any of the calls here.
const responseTimeout = 500 * time.Millisecond

// checkAppendOnly rejects a directory that redis-server has written, if there is no redis-server, or if the file that lists
// the others is missing: redis-server would start empty, and overwrite them.
func checkAppendOnly(dir string, installed bool) error {
	const folder = "appendonlydir"
	files, err := os.ReadDir(filepath.Join(dir, folder))
	switch {
	case errors.Is(err, os.ErrNotExist), err == nil && len(files) == 0:
		return nil
	case err != nil:
		return fmt.Errorf("the data directory %s cannot be read: %w", dir, err)
	case !installed:
		return fmt.Errorf("the data directory %s was written by redis-server, which is not installed: install it (sudo apt-get install redis-server), or choose another directory with --data-dir", dir)
	case !slices.ContainsFunc(files, func(f os.DirEntry) bool { return strings.HasSuffix(f.Name(), ".manifest") }):
		return damaged(filepath.Join(dir, folder), errors.New("the manifest is missing"))
	}
	return nil
}

// maxSocket is how long the path of a unix socket may be: sun_path has 108 bytes, with a final zero.
const maxSocket = 107

// chooseSocket sets the socket's path: in the data directory, or elsewhere if that has too long a name, or one that is
// ambiguous in a URL.
func (r *Redis) chooseSocket() error {
	dir := socketDir(r.opts.Dir)
	if dir != r.opts.Dir {
		if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
			return fmt.Errorf("no directory for redis's socket: %w", err)
		}
		info, err := os.Lstat(dir)
		if err != nil {
			return fmt.Errorf("no directory for redis's socket: %w", err)
		}
		if owner, ok := info.Sys().(*syscall.Stat_t); !ok || !info.IsDir() || owner.Uid != uint32(os.Getuid()) || info.Mode().Perm() != 0o700 {
			return fmt.Errorf("%s is not a directory of this user alone: remove it, or choose a data directory with a shorter name with --data-dir", dir)
		}
		r.tmp = dir
	}
	r.socket = socketIn(dir)
	if err := os.Remove(r.socket); err != nil && !errors.Is(err, os.ErrNotExist) { // of a program that was killed
		return unwritable(r.opts.Dir, err)
	}
	return nil
}

// socketDir returns the directory of the socket for a data directory.
func socketDir(dir string) string {
	if len(socketIn(dir)) <= maxSocket && !strings.ContainsAny(dir, "%?#@\r\n") {
		return dir
	}
	hash := sha256.Sum256([]byte(dir))
	return filepath.Join("/tmp", fmt.Sprintf("sightglass-%d-%x", os.Getuid(), hash[:8])) // the same after a kill
}

func socketIn(dir string) string { return filepath.Join(dir, "redis.sock") }

// Running returns the URL of the Redis that a running program has in a data directory. An error says that there is none, and
// what to do.
func Running(ctx context.Context, dir string) (string, error) {
	socket := socketIn(socketDir(dir))
	conn, err := new(net.Dialer).DialContext(ctx, "unix", socket)
	if errors.Is(err, os.ErrPermission) {
		return "", fmt.Errorf("the data directory %s is of another user: run this as that user, with sudo -u (%w)", dir, err)
	}
	if err != nil {
		return "", fmt.Errorf("no sightglass runs with the data directory %s (%w): start it (sightglass run), or set --data-dir to its directory, or --redis to its Redis", dir, err)
	}
	return socketURL(socket), conn.Close()
}

// Socket returns the path of the unix socket.
func (r *Redis) Socket() string { return r.socket }

// URL returns the URL for --redis.
func (r *Redis) URL() string { return socketURL(r.socket) }

func socketURL(socket string) string { return (&url.URL{Scheme: "unix", Path: socket}).String() }

// String describes the server, for operators.
func (r *Redis) String() string { return r.backend.String() + ", in " + r.opts.Dir }

// Run keeps the server running and saves its data until ctx ends. Then it saves once more, stops the server and releases
// the directory. The error is that of the last save.
func (r *Redis) Run(ctx context.Context) error {
	r.backend.run(ctx)
	return r.Close()
}

// Close saves the data, stops the server and releases the directory. Run calls it; it is for callers that do not run.
func (r *Redis) Close() error {
	err := r.backend.stop()
	r.release()
	return err
}

func (r *Redis) release() {
	if r.client != nil {
		r.client.Close()
	}
	if r.socket != "" {
		os.Remove(r.socket) //nolint:errcheck // the server has removed it if it could
	}
	if r.tmp != "" {
		os.RemoveAll(r.tmp) //nolint:errcheck // it has only the socket, and is in the folder for temporary files
	}
	if r.lock != nil {
		r.lock.Close()
	}
}

// saved records the result of a write to the data directory.
func (r *Redis) saved(err error) {
	if err != nil {
		r.metrics.failures.Inc()
		r.metrics.saves.Set(0)
		return
	}
	r.metrics.saves.Set(1)
}

// isOurs reports whether the data directory is still the one that was locked. It may have been deleted.
func (r *Redis) isOurs() bool {
	locked, err := r.lock.Stat()
	found, foundErr := os.Stat(filepath.Join(r.opts.Dir, lockName))
	return err == nil && foundErr == nil && os.SameFile(locked, found)
}

// lockName is a file that holds the lock, and the text about who has it.
const lockName = "lock"

// How long lock waits: for a program that is just ending, and for the redis-server of a killed one, which has the same lock
// and ends by itself.
const (
	lockTimeout   = time.Second
	orphanTimeout = 5 * time.Second
)

// lock locks a data directory for as long as the returned file is open in any process.
func lock(ctx context.Context, dir, version string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, unwritable(dir, err)
	}
	if err := await(ctx, f, dir); err != nil {
		f.Close()
		return nil, err
	}
	host, _ := os.Hostname() // without it the text is less exact
	text := fmt.Sprintf("process %d (sightglass %s on %s, since %s)", os.Getpid(), version, host, time.Now().UTC().Format(time.DateTime+"Z"))
	// First the text, so that another program never finds the file empty.
	_, err = f.WriteAt([]byte(text), 0)
	if err = errors.Join(err, f.Truncate(int64(len(text)))); err != nil && !errors.Is(err, syscall.ENOSPC) {
		f.Close()
		return nil, unwritable(dir, err)
	}
	return f, nil
}

// await waits until no other process has the lock.
func await(ctx context.Context, f *os.File, dir string) error {
	began := time.Now()
	retry := time.NewTicker(20 * time.Millisecond)
	defer retry.Stop()
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return fmt.Errorf("cannot lock the data directory %s: %w", dir, err)
		}
		text := make([]byte, 200)
		n, _ := f.ReadAt(text, 0) // without the text the error is less exact
		holder, timeout := string(text[:n]), lockTimeout
		var pid int
		if _, err := fmt.Sscanf(holder, "process %d", &pid); err != nil {
			holder = "another program"
		} else if !alive(pid) {
			holder, timeout = "the redis-server of "+holder+", which has ended", orphanTimeout
		}
		if time.Since(began) > timeout {
			return fmt.Errorf("the data directory %s is in use by %s: stop that program, or choose another directory with --data-dir", dir, holder)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-retry.C:
		}
	}
}

// alive reports whether a process runs. One that has ended, and that its parent has not waited for, does not.
func alive(pid int) bool {
	if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		return false
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, state, found := strings.Cut(string(stat), ") ")
	return err != nil || !found || !strings.HasPrefix(state, "Z")
}

// unwritable explains why a data directory cannot be written.
func unwritable(dir string, err error) error {
	return fmt.Errorf("the data directory %s cannot be written: %w; give this user the right to, or choose another with --data-dir", dir, err)
}
