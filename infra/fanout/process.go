package fanout

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// clockTick is the unit of times in /proc: USER_HZ, which is 100 on Linux.
const clockTick = time.Second / 100

// A Process is a process ID, whose resource usage is read from /proc.
type Process int

// CPU returns the user and system time that the process has used.
func (p Process) CPU() (time.Duration, error) {
	stat, err := os.ReadFile(p.path("stat"))
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:])) // the name may contain any bytes
	const utime, stime = 11, 12                                               // after the name; see proc(5)
	if len(fields) <= stime {
		return 0, fmt.Errorf("%s: too few fields", p.path("stat"))
	}
	user, err := strconv.ParseInt(fields[utime], 10, 64)
	system, err2 := strconv.ParseInt(fields[stime], 10, 64)
	return time.Duration(user+system) * clockTick, errors.Join(err, err2)
}

// RSS returns the process's resident memory in bytes. It excludes the kernel's socket buffers.
func (p Process) RSS() (int64, error) {
	statm, err := os.ReadFile(p.path("statm"))
	if err != nil {
		return 0, err
	}
	var size, resident int64
	if _, err := fmt.Sscan(string(statm), &size, &resident); err != nil {
		return 0, fmt.Errorf("%s: %w", p.path("statm"), err)
	}
	return resident * int64(os.Getpagesize()), nil
}

// Descriptors returns the number of open file descriptors.
func (p Process) Descriptors() (int, error) {
	entries, err := os.ReadDir(p.path("fd"))
	return len(entries), err
}

func (p Process) path(name string) string { return filepath.Join("/proc", strconv.Itoa(int(p)), name) }

// coreCPU returns the time that a core has been busy since boot, for all processes and interrupts.
func coreCPU(core int) (time.Duration, error) {
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(stat)) {
		var user, nice, system, idle, wait, irq, softirq int64
		name, rest, _ := strings.Cut(line, " ")
		if name != "cpu"+strconv.Itoa(core) {
			continue
		}
		if _, err := fmt.Sscan(rest, &user, &nice, &system, &idle, &wait, &irq, &softirq); err != nil {
			return 0, fmt.Errorf("/proc/stat: %w", err)
		}
		return time.Duration(user+nice+system+irq+softirq) * clockTick, nil
	}
	return 0, fmt.Errorf("/proc/stat has no core %d", core)
}

// Cores splits the cores that this process may use: the first for the server, the others for everything else. With one
// core, both share it.
func Cores() (server int, others unix.CPUSet, err error) {
	var all unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		return 0, all, err
	}
	for !all.IsSet(server) {
		server++
	}
	others = all
	if all.Count() > 1 {
		others.Clear(server)
	}
	return server, others, nil
}

// pinSelf pins all threads of this process to cores. Later threads inherit the affinity.
func pinSelf(cores *unix.CPUSet) error {
	threads, err := os.ReadDir("/proc/self/task")
	for _, thread := range threads {
		id, parseErr := strconv.Atoi(thread.Name())
		err = errors.Join(err, parseErr)
		if pinErr := unix.SchedSetaffinity(id, cores); pinErr != nil && !errors.Is(pinErr, unix.ESRCH) { // it may have exited
			err = errors.Join(err, pinErr)
		}
	}
	return err
}

// A child is a server process that is measured. It is pinned to one core, with GOMAXPROCS=1.
type child struct {
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	output bytes.Buffer
}

// launch starts a program pinned to a core.
func launch(core int, program string, args ...string) (*child, error) {
	c := &child{cmd: exec.Command(program, args...)}
	c.cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
	c.cmd.Stdout, c.cmd.Stderr = &c.output, &c.output
	var err error
	if c.stdin, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if err := onCore(core, c.cmd.Start); err != nil {
		return nil, fmt.Errorf("starting %s: %w", program, err)
	}
	return c, nil
}

// onCore calls f in a thread that is pinned to a core. A process that f starts inherits the affinity.
func onCore(core int, f func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var before, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		return err
	}
	one.Set(core)
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		return err
	}
	return errors.Join(f(), unix.SchedSetaffinity(0, &before))
}

func (c *child) process() Process { return Process(c.cmd.Process.Pid) }

const (
	startTimeout = 15 * time.Second
	stopTimeout  = 15 * time.Second // an edge waits up to 5 s for its clients
)

// stop sends SIGTERM and waits for the exit. Its error contains the program's output.
func (c *child) stop() error {
	c.stdin.Close()
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	kill := time.AfterFunc(stopTimeout, func() { c.cmd.Process.Kill() }) //nolint:errcheck // then it has already exited
	defer kill.Stop()
	if err := c.cmd.Wait(); err != nil {
		return fmt.Errorf("%s: %w\n%s", filepath.Base(c.cmd.Path), err, c.output.String())
	}
	return nil
}
