// Package localredis runs a Redis for one program, in a data directory of the program's own.
//
// If redis-server is installed, it runs as a child process with its append-only file. Otherwise a Redis inside this process
// (miniredis) runs, and the keys that outlive it are saved to a file. Both listen on a unix socket only, which only the
// directory's owner can open.
package localredis

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/redis/go-redis/v9"

	"sightglass/shared/contract"
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
	tmp     string // the socket's directory, if it is not the data directory
}

// A backend is one of the two kinds of servers.
type backend interface {
	// start returns when the server responds, or cannot.
	start(ctx context.Context) error
	// run keeps the server running and its data safe until ctx ends.
	run(ctx context.Context)
	// stop saves the data and stops the server.
	stop() error
	// String names the kind and the version.
	String() string
}

type metrics struct {
	saves    prometheus.Gauge
	failures prometheus.Counter
	restarts prometheus.Counter
}

// Open locks the data directory, checks it and starts the server. An error names what is wrong with the directory and what
// to do; then nothing in it was changed.
func Open(ctx context.Context, o Options) (*Redis, error) {
	r := &Redis{opts: o}
	with := promauto.With(o.Metrics)
	r.metrics = metrics{
		saves:    with.NewGauge(prometheus.GaugeOpts{Name: "sightglass_localredis_saves", Help: "1 while the data directory is written; 0 after a failure, such as a full disk."}),
		failures: with.NewCounter(prometheus.CounterOpts{Name: "sightglass_localredis_save_failures_total", Help: "Failed writes to the data directory."}),
		restarts: with.NewCounter(prometheus.CounterOpts{Name: "sightglass_localredis_restarts_total", Help: "Starts of redis-server after it ended by itself."}),
	}
	if err := r.open(ctx); err != nil {
		r.release()
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
	if err := r.chooseSocket(); err != nil {
		return err
	}
	r.client = redis.NewClient(&redis.Options{Network: "unix", Addr: r.socket, ClientName: "sightglass-localredis", MaxRetries: -1, DialerRetries: 1})
	program := serverProgram()
	if program == "" {
		r.backend = &memory{r: r}
	} else {
		r.backend = &process{r: r, program: program}
	}
	if err := r.backend.start(ctx); err != nil {
		return err
	}
	// The lease of a program that was killed: while this one has the directory, no other can be the leader.
	return r.client.Del(ctx, contract.KeyLeader).Err()
}

// maxSocket is how long the path of a unix socket may be: sun_path has 108 bytes, with a final zero.
const maxSocket = 107

// chooseSocket sets the socket's path: in the data directory, or elsewhere if that has too long a name.
func (r *Redis) chooseSocket() (err error) {
	dir := r.opts.Dir
	if len(socketIn(dir)) > maxSocket {
		if dir, err = os.MkdirTemp("", "sightglass-"); err != nil {
			return fmt.Errorf("no directory for redis's socket: %w", err)
		}
		r.tmp = dir
	}
	r.socket = socketIn(dir)
	if err := os.Remove(r.socket); err != nil && !errors.Is(err, os.ErrNotExist) { // of a program that was killed
		return unwritable(r.opts.Dir, err)
	}
	return nil
}

func socketIn(dir string) string { return filepath.Join(dir, "redis.sock") }

// Socket returns the path of the unix socket.
func (r *Redis) Socket() string { return r.socket }

// URL returns the URL for --redis.
func (r *Redis) URL() string { return "unix://" + r.socket }

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
	if r.tmp != "" {
		os.RemoveAll(r.tmp) //nolint:errcheck // it has only the socket, and is in the folder for temporary files
	}
	if r.lock != nil {
		r.lock.Close()
	}
}

// failed reports a failed write to the data directory; nil means that a write succeeded.
func (r *Redis) failed(err error) {
	if err != nil {
		r.metrics.failures.Inc()
		r.metrics.saves.Set(0)
		return
	}
	r.metrics.saves.Set(1)
}

// lockName is a file that holds the lock, and the text about who has it.
const lockName = "lock"

// lockTimeout is how long lock waits for the redis-server of a killed program, which has the same lock and ends by itself.
const lockTimeout = 5 * time.Second

// lock locks a data directory for as long as the returned file is open in any process.
func lock(ctx context.Context, dir, version string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, unwritable(dir, err)
	}
	ctx, cancel := context.WithTimeout(ctx, lockTimeout)
	defer cancel()
	retry := time.NewTicker(20 * time.Millisecond)
	defer retry.Stop()
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			break
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			f.Close()
			return nil, fmt.Errorf("cannot lock the data directory %s: %w", dir, err)
		}
		holder := make([]byte, 200)
		n, _ := f.ReadAt(holder, 0) // without the text the error is less exact
		var pid int
		if _, err := fmt.Sscanf(string(holder[:n]), "process %d", &pid); err != nil {
			pid = 0
		}
		if pid == 0 || !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) || ctx.Err() != nil {
			f.Close()
			return nil, fmt.Errorf("the data directory %s is in use by %s: stop that program, or choose another directory with --data-dir", dir, holder[:n])
		}
		<-retry.C
	}
	host, _ := os.Hostname() // without it the text is less exact
	text := fmt.Sprintf("process %d (sightglass %s on %s, since %s)", os.Getpid(), version, host, time.Now().UTC().Format(time.DateTime+"Z"))
	if err := errors.Join(f.Truncate(0), writeAt(f, text)); err != nil && !errors.Is(err, syscall.ENOSPC) {
		f.Close()
		return nil, unwritable(dir, err)
	}
	return f, nil
}

func writeAt(f *os.File, text string) error {
	_, err := f.WriteAt([]byte(text), 0)
	return err
}

// unwritable explains why a data directory cannot be written.
func unwritable(dir string, err error) error {
	return fmt.Errorf("the data directory %s cannot be written: %w; give this user the right to, or choose another with --data-dir", dir, err)
}
