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

// clockTick is the unit of /proc's times: USER_HZ, which is 100 on every Linux.
const clockTick = time.Second / 100

// A Process is looked at from outside, by its /proc.
type Process int

// CPU is what the process has used so far.
func (p Process) CPU() (time.Duration, error) {
	stat, err := os.ReadFile(p.path("stat"))
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:])) // the name may hold anything
	const utime, stime = 11, 12                                               // after the name; see proc(5)
	if len(fields) <= stime {
		return 0, fmt.Errorf("%s is short", p.path("stat"))
	}
	user, err := strconv.ParseInt(fields[utime], 10, 64)
	system, err2 := strconv.ParseInt(fields[stime], 10, 64)
	return time.Duration(user+system) * clockTick, errors.Join(err, err2)
}

// RSS is the memory that the process has in RAM, in bytes. The kernel's buffers for its sockets are not in it.
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

// Descriptors is how many files and sockets it has open.
func (p Process) Descriptors() (int, error) {
	entries, err := os.ReadDir(p.path("fd"))
	return len(entries), err
}

func (p Process) path(name string) string { return filepath.Join("/proc", strconv.Itoa(int(p)), name) }

// coreBusy is the time that a core has worked so far, for whomever.
func coreBusy(core int) (time.Duration, error) {
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
	return 0, fmt.Errorf("/proc/stat knows no core %d", core)
}

// Cores splits the cores that this process may use: the first for the server, the others for everything else. With
// one core there is nothing to split, and both work on that.
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

// pinSelf moves every thread of this process to cores. Threads that come later are started by these, and stay there.
func pinSelf(cores *unix.CPUSet) error {
	threads, err := os.ReadDir("/proc/self/task")
	for _, thread := range threads {
		id, notNumber := strconv.Atoi(thread.Name())
		err = errors.Join(err, notNumber)
		if failed := unix.SchedSetaffinity(id, cores); failed != nil && !errors.Is(failed, unix.ESRCH) {
			err = errors.Join(err, failed)
		}
	}
	return err
}

// A child is a server under measurement, on one core, as one thread's worth of Go.
type child struct {
	cmd    *exec.Cmd
	feed   io.WriteCloser
	output bytes.Buffer
}

// launch starts a program on one core.
func launch(core int, program string, args ...string) (*child, error) {
	c := &child{cmd: exec.Command(program, args...)}
	c.cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
	c.cmd.Stdout, c.cmd.Stderr = &c.output, &c.output
	var err error
	if c.feed, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if err := onCore(core, c.cmd.Start); err != nil {
		return nil, fmt.Errorf("starting %s: %w", program, err)
	}
	return c, nil
}

// onCore calls f on one core. A process that f starts inherits that.
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

// stopWithin is how long a server may take to end: the edge gives its clients 5 s.
const stopWithin = 15 * time.Second

// stop ends the program as an operator would, and shows what it said if that goes wrong.
func (c *child) stop() error {
	c.feed.Close()
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	kill := time.AfterFunc(stopWithin, func() { c.cmd.Process.Kill() }) //nolint:errcheck // then it has ended by itself
	defer kill.Stop()
	if err := c.cmd.Wait(); err != nil {
		return fmt.Errorf("%s: %w\n%s", filepath.Base(c.cmd.Path), err, c.output.String())
	}
	return nil
}
