package localredis

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"sightglass/shared/daemon"
)

// oldest is the first major version of Redis whose scripts can keep snapshots out of the append-only file.
const oldest = 7

// serverProgram returns the path of an installed server and its version: Redis, or Valkey, which is its successor in some
// distributions. If none can be used, program is "" and note says why.
func serverProgram(ctx context.Context) (program, note string) {
	note = "redis-server is not installed"
	for _, name := range []string{"redis-server", "valkey-server"} {
		path, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		out, err := exec.CommandContext(ctx, path, "--version").Output()
		_, version, found := strings.Cut(string(out), " v=")
		version, _, _ = strings.Cut(version, " ")
		major, _, _ := strings.Cut(version, ".")
		number, numErr := strconv.Atoi(major)
		switch {
		case err != nil || !found || numErr != nil:
			note = path + " does not say its version"
		case number < oldest:
			note = fmt.Sprintf("%s %s is older than version %d", path, version, oldest)
		default:
			return path, version
		}
	}
	return "", note
}

const (
	// startTimeout is how long redis-server may take to load its file: far longer than it takes for 20 MB.
	startTimeout = 30 * time.Second
	// stopTimeout is how long it may take to write and sync its file.
	stopTimeout = 700 * time.Millisecond
	// checkInterval is how often it is checked. With a full disk it refuses writes until the next check.
	checkInterval = time.Second
	// silentChecks is after how many checks without a response it is killed and started again.
	silentChecks = 10
	// persistInterval is how often it is asked to write its file again after a failure.
	persistInterval = 10 * time.Second
)

// A process is a redis-server, a child process.
type process struct {
	r       *Redis
	program string
	version string

	cmd    *exec.Cmd
	ended  chan struct{} // closed when the current process has ended; nil if none could be started
	output *lastLine
	off    bool // it does not write its file
}

func (p *process) String() string {
	return fmt.Sprintf("%s %s, with its append-only file", filepath.Base(p.program), p.version)
}

func (p *process) start(ctx context.Context) error { return p.launch(ctx) }

// launch starts the process and waits until it has loaded its data.
func (p *process) launch(ctx context.Context) error {
	p.cmd = exec.Command(p.program,
		"--port", "0", "--unixsocket", p.r.socket, "--unixsocketperm", "600", "--dir", p.r.opts.Dir,
		"--appendonly", "yes", "--appendfsync", "everysec", "--save", "", "--auto-aof-rewrite-min-size", "16mb",
		"--databases", "1", "--daemonize", "no", "--loglevel", "warning", "--logfile", "")
	p.output = new(lastLine)
	p.cmd.Stdout, p.cmd.Stderr = p.output, p.output
	// The process holds the lock, too, so that no other program uses the directory before it has ended. It ends when this
	// program is killed. Ctrl-C is for this program, which needs Redis to the end.
	p.cmd.ExtraFiles = []*os.File{p.r.lock}
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	p.ended = nil
	ended, started := make(chan struct{}), make(chan error, 1)
	go func() {
		runtime.LockOSThread() // Pdeathsig is sent when the thread that started the process ends
		defer runtime.UnlockOSThread()
		defer close(ended)
		err := p.cmd.Start()
		started <- err
		if err == nil {
			p.cmd.Wait() //nolint:errcheck // its output has the reason
		}
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("%s cannot be started: %w", p.program, err)
	}
	p.ended = ended
	return p.awaitResponse(ctx)
}

func (p *process) awaitResponse(ctx context.Context) error {
	within, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for p.r.client.Ping(within).Err() != nil {
		select {
		case <-p.ended:
			return fmt.Errorf("%s does not start on the data directory %s (%s): repair what it names, or move it away to start without it, or choose another directory with --data-dir",
				p.program, p.r.opts.Dir, cmp.Or(p.output.String(), "it says nothing"))
		case <-within.Done():
			return fmt.Errorf("%s does not respond within %v", p.program, startTimeout)
		case <-poll.C:
		}
	}
	return nil
}

// run restarts the process when it ends or does not respond, and lets it continue without its file while the disk is full:
// by itself it would refuse every write then, and the stream would stop.
func (p *process) run(ctx context.Context) {
	outage := daemon.Outage{Log: p.r.opts.Log}
	check := time.NewTicker(checkInterval)
	defer check.Stop()
	var lastTry time.Time
	silent := 0
	for {
		select {
		case <-ctx.Done():
			return
		case <-check.C:
		}
		if !p.running() {
			p.restart(ctx)
			silent = 0
			continue
		}
		info, err := p.r.client.Info(ctx, "persistence").Result()
		if err != nil {
			if silent++; silent == silentChecks {
				p.r.opts.Log.Error("redis-server does not respond; killing it", "err", err)
				p.end()
			}
			continue
		}
		silent = 0
		switch {
		case !p.r.isOurs():
			p.r.saved(errDeleted)
			outage.Failed("nothing is saved: the data directory was deleted or replaced; start the program again", errDeleted)
		case !p.off && strings.Contains(info, "aof_last_write_status:err"):
			outage.Failed("the data directory cannot be written; the price goes on, and a restart would begin with the data written last", errNotWritten)
			p.r.saved(errNotWritten)
			p.off, lastTry = p.r.client.ConfigSet(ctx, "appendonly", "no").Err() == nil, time.Now()
		case p.off && time.Since(lastTry) >= persistInterval:
			lastTry = time.Now()
			err := p.r.client.ConfigSet(ctx, "appendonly", "yes").Err()
			if err != nil {
				p.r.saved(err)
			}
			p.off = err != nil
		case !p.off && strings.Contains(info, "aof_last_bgrewrite_status:ok") && strings.Contains(info, "aof_rewrite_in_progress:0"):
			p.r.saved(nil)
			outage.Recovered("the data directory is written again")
		}
	}
}

// The reasons why nothing is saved.
var (
	errNotWritten = errors.New("redis-server could not write its append-only file; is the disk full?")
	errDeleted    = errors.New("it is not the directory that was locked at the start")
	errEnded      = errors.New("redis-server has ended")
)

// running reports whether the process runs.
func (p *process) running() bool {
	if p.ended == nil {
		return false
	}
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

func (p *process) restart(ctx context.Context) {
	p.r.opts.Log.Error("redis-server has ended; starting it again", "output", p.output.String())
	p.r.saved(errEnded)
	p.r.metrics.restarts.Inc()
	p.off = false
	if err := p.launch(ctx); err != nil && ctx.Err() == nil {
		p.r.opts.Log.Error("redis-server cannot be started", "err", err)
	}
}

// stop lets the process write and sync its file.
func (p *process) stop() error {
	off, runs := p.off || !p.r.isOurs(), p.running()
	if runs {
		p.cmd.Process.Signal(syscall.SIGTERM) //nolint:errcheck // it may have ended
		select {
		case <-p.ended:
		case <-time.After(stopTimeout):
			runs = false
			p.end()
		}
	}
	if off || !runs {
		return fmt.Errorf("the history and the engine's state that redis-server did not write to %s are lost: the disk was full, the directory was deleted, or redis-server did not run or respond", p.r.opts.Dir)
	}
	return nil
}

func (p *process) end() {
	if p.running() {
		p.cmd.Process.Kill() //nolint:errcheck // it may have ended
		<-p.ended
	}
}

// A lastLine keeps the last line of a process's output that is not a warning about the machine's settings.
type lastLine struct {
	mu   sync.Mutex
	part []byte // of the next line
	line string
}

var _ io.Writer = (*lastLine)(nil)

// maxLine bounds what is kept of a line.
const maxLine = 300

func (l *lastLine) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.part = append(l.part, b...)
	for {
		line, rest, found := bytes.Cut(l.part, []byte("\n"))
		if !found {
			l.part = append([]byte(nil), line[:min(len(line), maxLine)]...)
			return len(b), nil
		}
		l.part = rest
		// 1:M 26 Nov 2026 21:09:51.577 # text
		if _, text, found := strings.Cut(string(line), " # "); found && !strings.HasPrefix(text, "WARNING") {
			l.line = text[:min(len(text), maxLine)]
		}
	}
}

func (l *lastLine) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.TrimSpace(l.line)
}
