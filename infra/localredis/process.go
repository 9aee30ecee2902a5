package localredis

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"sightglass/shared/daemon"
)

// serverProgram returns the path of an installed server: Redis, or Valkey, which is its successor in some distributions.
// It returns "" if none is installed.
func serverProgram() string {
	for _, name := range []string{"redis-server", "valkey-server"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
}

const (
	// startTimeout is how long redis-server may take to load its file: far longer than it takes for 20 MB.
	startTimeout = 30 * time.Second
	// stopTimeout is how long it may take to write and sync its file.
	stopTimeout = 1500 * time.Millisecond
	// checkInterval is how often its persistence is checked. With a full disk it refuses writes until the next check.
	checkInterval = time.Second
	// persistInterval is how often it is asked to write its file again after a failure.
	persistInterval = 10 * time.Second
)

// A process is a redis-server, a child process.
type process struct {
	r       *Redis
	program string
	version string

	cmd    *exec.Cmd
	ended  chan struct{} // closed when the current process has ended
	output lastLines
}

func (p *process) String() string {
	return fmt.Sprintf("%s %s, with its append-only file", filepath.Base(p.program), p.version)
}

func (p *process) start(ctx context.Context) error {
	if err := p.launch(ctx); err != nil {
		return err
	}
	for line := range strings.Lines(p.r.client.Info(ctx, "server").Val()) {
		if version, ok := strings.CutPrefix(line, "redis_version:"); ok {
			p.version = strings.TrimSpace(version)
		}
	}
	return p.adopt(ctx)
}

// launch starts the process and waits until it has loaded its data.
func (p *process) launch(ctx context.Context) error {
	p.cmd = exec.Command(p.program,
		"--port", "0", "--unixsocket", p.r.socket, "--unixsocketperm", "600", "--dir", p.r.opts.Dir,
		"--appendonly", "yes", "--appendfsync", "everysec", "--save", "", "--auto-aof-rewrite-min-size", "16mb",
		"--databases", "1", "--daemonize", "no", "--loglevel", "warning", "--logfile", "")
	p.output = lastLines{}
	p.cmd.Stdout, p.cmd.Stderr = &p.output, &p.output
	// The process holds the lock, too, so that no other program uses the directory before it has ended. It ends when this
	// program is killed. Ctrl-C is for this program, which needs Redis to the end.
	p.cmd.ExtraFiles = []*os.File{p.r.lock}
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	p.ended = make(chan struct{})
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // Pdeathsig is sent when the thread that started the process ends
		defer runtime.UnlockOSThread()
		err := p.cmd.Start()
		started <- err
		if err == nil {
			p.cmd.Wait() //nolint:errcheck // its output has the reason
		}
		close(p.ended)
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("%s cannot be started: %w", p.program, err)
	}
	return p.awaitResponse(ctx)
}

func (p *process) awaitResponse(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for p.r.client.Ping(ctx).Err() != nil {
		select {
		case <-p.ended:
			return fmt.Errorf("%s does not start on the data directory %s: %s; repair the file that it names, or move it away to start without it, or choose another directory with --data-dir",
				p.program, p.r.opts.Dir, p.output.String())
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("%s does not respond: %w: %s", p.program, ctx.Err(), p.output.String()), p.stop())
		case <-poll.C:
		}
	}
	return nil
}

// adopt loads the keys that an in-process Redis has saved, once: redis-server was installed since.
func (p *process) adopt(ctx context.Context) error {
	loaded, err := p.r.load(ctx)
	if !loaded || err != nil {
		return err
	}
	path := filepath.Join(p.r.opts.Dir, savedName)
	p.r.opts.Log.Info("redis-server has taken over the saved keys", "file", path)
	return os.Rename(path, path+".old")
}

// run restarts the process when it ends, and lets it continue without its file while the disk is full: by itself it would
// refuse every write then, and the stream would stop.
func (p *process) run(ctx context.Context) {
	log, outage := p.r.opts.Log, daemon.Outage{Log: p.r.opts.Log}
	check := time.NewTicker(checkInterval)
	defer check.Stop()
	var lastTry time.Time
	off := false // it does not write its file
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.ended:
			log.Error("redis-server has ended; starting it again", "output", p.output.String())
			p.r.metrics.restarts.Inc()
			if err := p.launch(ctx); err != nil && ctx.Err() == nil {
				log.Error("redis-server cannot be started", "err", err)
			}
			off = false
			<-check.C // not at once, if it ends at once
			continue
		case <-check.C:
		}
		info := p.r.client.Info(ctx, "persistence").Val()
		switch {
		case ctx.Err() != nil || info == "":
		case !off && strings.Contains(info, "aof_last_write_status:err"):
			outage.Failed("the data directory cannot be written; the price goes on, and a restart would begin with the data written last. Is the disk full?",
				p.r.client.ConfigSet(ctx, "appendonly", "no").Err())
			off, lastTry = true, time.Now()
			p.r.failed(errNotWritten)
		case off && time.Since(lastTry) >= persistInterval:
			lastTry = time.Now()
			if err := p.r.client.ConfigSet(ctx, "appendonly", "yes").Err(); err != nil {
				p.r.failed(err)
				continue
			}
			off = false
		case !off && strings.Contains(info, "aof_last_bgrewrite_status:ok") && strings.Contains(info, "aof_rewrite_in_progress:0"):
			p.r.failed(nil)
			outage.Recovered("the data directory is written again")
		}
	}
}

var errNotWritten = errors.New("redis-server could not write its append-only file")

// stop lets the process write and sync its file.
func (p *process) stop() error {
	if p.ended == nil {
		return nil
	}
	p.cmd.Process.Signal(syscall.SIGTERM) //nolint:errcheck // it may have ended
	select {
	case <-p.ended:
		return nil
	case <-time.After(stopTimeout):
		return errors.Join(errors.New("redis-server did not stop in time; killed it"), p.cmd.Process.Kill())
	}
}

// lastLines keeps the end of a process's output.
type lastLines struct {
	mu   sync.Mutex
	text []byte
}

var _ io.Writer = (*lastLines)(nil)

// maxOutput is the length of the output that is kept: the last few lines.
const maxOutput = 500

func (l *lastLines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, b...)
	l.text = l.text[max(0, len(l.text)-maxOutput):]
	return len(b), nil
}

// String returns the output in one line.
func (l *lastLines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(strings.Fields(string(l.text)), " ")
}
