package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"sightglass/infra/test/internal/daemons"
	"sightglass/infra/test/internal/programs"
	"sightglass/infra/test/internal/redistest"
	"sightglass/ingester/replay"
	"sightglass/ingester/testblock"
	"sightglass/ingester/transcript"
	"sightglass/ingester/txfile"
	"sightglass/shared/contract"
	"sightglass/shared/history"
)

// mainnetNode replays a node to whose mempool the transactions of block 574200 come, as fast as they are read. Their entry
// times are in the last five minutes, so that an engine has a state at once.
func mainnetNode(t *testing.T) *replay.Node {
	t.Helper()
	return nodeWith(t, 1, 5*time.Minute)
}

// nodeWith replays a node to whose mempool the transactions of block 574200 come in several rounds, each with its own
// txids. Their entry times are spread over the last period.
func nodeWith(t testing.TB, rounds int, period time.Duration) *replay.Node {
	t.Helper()
	file, err := txfile.Read(testblock.Path(t, testblock.Block574200), nil)
	if err != nil {
		t.Fatal(err)
	}
	txs := file.Transactions[1:] // without the coinbase, which would begin a block
	var lines []transcript.Line
	for round := range rounds {
		for i, tx := range txs {
			tx.LockTime = uint32(round)
			var body bytes.Buffer
			if err := tx.Serialize(&body); err != nil {
				t.Fatal(err)
			}
			n := round*len(txs) + i
			at := period.Seconds() * float64(n) / float64(rounds*len(txs))
			added := transcript.Sequence{Hash: tx.TxHash(), Letter: transcript.Added, Number: uint64(n + 1)}
			lines = append(lines,
				transcript.Line{T: at, Topic: transcript.TopicRawTx, Body: body.Bytes(), Counter: uint32(n)},
				transcript.Line{T: at, Topic: transcript.TopicSequence, Body: added.Body(), Counter: uint32(n)})
		}
	}
	n, err := replay.NewNode(replay.NodeOptions{Endpoint: "tcp://127.0.0.1:*", RPCListen: "127.0.0.1:0", Log: slog.New(slog.DiscardHandler)}, lines)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// A home is a user's home directory, and a program in it.
type home struct {
	t    testing.TB
	dir  string
	addr string
	env  []string
}

func newHome(t testing.TB) *home {
	t.Helper()
	h := &home{t: t, dir: t.TempDir(), addr: programs.FreeAddr(t)}
	h.env = []string{"HOME=" + h.dir, "PATH=" + os.Getenv("PATH"), "SIGHTGLASS_LISTEN=" + h.addr}
	return h
}

// run runs the program with the settings of h.env and arguments.
func (h *home) run(args ...string) *programs.Process {
	h.t.Helper()
	cmd := exec.Command(programs.Build(h.t, "infra", "sightglass"), append([]string{"run"}, args...)...)
	cmd.Env, cmd.Dir = h.env, h.dir
	return programs.LaunchCommand(h.t, cmd)
}

// export runs the command export, and returns what it prints to standard output and to standard error.
func (h *home) export(args ...string) (stdout, stderr string) {
	h.t.Helper()
	return h.command(append([]string{"export"}, args...)...)
}

// command runs a command to its end, and returns what it prints to standard output and to standard error.
func (h *home) command(args ...string) (stdout, stderr string) {
	h.t.Helper()
	cmd := exec.Command(programs.Build(h.t, "infra", "sightglass"), args...)
	cmd.Env, cmd.Dir = h.env, h.dir
	var out, notes bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &notes
	if err := cmd.Run(); err != nil && notes.Len() == 0 {
		h.t.Error(err)
	}
	return out.String(), notes.String()
}

// use sets the node.
func (h *home) use(rpc string) {
	h.env = append(h.env, "SIGHTGLASS_RPC="+rpc, "SIGHTGLASS_RPC_USER=user", "SIGHTGLASS_RPC_PASSWORD=password")
}

// snapshot returns the newest snapshot; nil if there is none.
func (h *home) snapshot() *contract.Snapshot {
	body, err := programs.Get("http://" + h.addr + "/api/v1/snapshot")
	if err != nil {
		return nil
	}
	s, err := contract.DecodeSnapshot(body)
	if err != nil {
		return nil
	}
	return s
}

// history returns the times of the history's entries.
func (h *home) history() (times []float64) {
	body, err := programs.Get("http://" + h.addr + "/api/v1/history")
	if err != nil {
		return nil
	}
	var response struct{ Points [][]float64 }
	if err := json.Unmarshal(body, &response); err != nil {
		h.t.Error(err)
	}
	for _, p := range response.Points {
		times = append(times, p[0])
	}
	return times
}

func (h *home) awaitPrice(what string) {
	h.t.Helper()
	programs.Until(h.t, what, func() bool {
		s := h.snapshot()
		return s != nil && s.Status == contract.Live && s.Price > 5200 && s.Price < 5400
	})
}

// TestStandalone_KeepsHistory kills the program, and then ends it in order. Each time the next one has the history, and
// exports it.
func TestStandalone_KeepsHistory(t *testing.T) {
	for _, kind := range []string{"redis-server", "in-process Redis"} {
		t.Run(kind, func(t *testing.T) {
			node := mainnetNode(t)
			daemons.Run(t, node.Run)
			h := newHome(t)
			if kind == "in-process Redis" {
				h.env = append(h.env, "PATH="+t.TempDir())
			}
			alone := h.env
			h.use(node.RPCURL())
			first := h.run()
			h.awaitPrice("a price")
			programs.Until(t, "two entries in the history", func() bool { return len(h.history()) > 1 }) // a later program may replace the last one
			began := h.history()[0]
			kept := filepath.Join(h.dir, ".local/state/sightglass")
			programs.Until(t, "the history to be saved", func() bool {
				aof, _ := filepath.Glob(kept + "/appendonlydir/*.incr.aof") // the pattern is valid
				for _, file := range append(aof, kept+"/keys.json.gz") {
					if data, err := os.ReadFile(file); err == nil && (strings.HasSuffix(file, ".gz") || strings.Contains(string(data), history.KeyRecent)) {
						return true
					}
				}
				return false
			})
			first.Signal(t, syscall.SIGKILL)
			first.Wait()

			second := h.run()
			h.awaitPrice("a price of the second program")
			if got := h.history(); len(got) == 0 || got[0] != began {
				t.Errorf("got history %v after a kill, want it to begin at %v", got, began)
			}
			table, notes := h.export()
			for _, want := range []string{"series,time,height,price,", fmt.Sprintf("\nrecent,%.0f,,5", began), "\nhours,", "\ndays,"} {
				if !strings.Contains(table, want) || notes != "" {
					t.Errorf("got an export without %q, and notes %q:\n%s", want, notes, table)
				}
			}
			second.Stop(t)
			if table, notes := h.export("--format", "json"); table != "" || !strings.Contains(notes, "no sightglass runs with the data directory "+kept) {
				t.Errorf("got %q and %q without a running program, want an error that says so", table, notes)
			}

			h.env = alone
			third := h.run("--zmq", "tcp://"+programs.FreeAddr(t)) // without a node: the price comes from the state
			programs.Until(t, "the third program's first snapshot", func() bool { return h.snapshot() != nil })
			if s := h.snapshot(); s.Price < 5200 || s.Price > 5400 {
				t.Errorf("got price %v (%s) from a restarted program without a node, want that of the saved state", s.Price, s.Status)
			}
			third.Stop(t)
			if out := first.Output(); !strings.Contains(out, kind) || !strings.Contains(out, "dashboard  http://"+h.addr+"/\n") {
				t.Errorf("got output without the kind of Redis or the address:\n%s", out)
			}
		})
	}
}

// TestStandalone_FindsNode: nothing is told, and the node's cookie and its RPC are where bitcoind has them.
func TestStandalone_FindsNode(t *testing.T) {
	node := mainnetNode(t)
	ln, err := net.Listen("tcp", "127.0.0.1:8332")
	if err != nil {
		t.Skipf("the RPC port of a node is in use on this machine: %v", err)
	}
	daemons.Run(t, node.Run)
	server := &http.Server{Handler: forward(t, node.RPCURL())}
	go server.Serve(ln) //nolint:errcheck // it is closed
	t.Cleanup(func() { server.Close() })
	h := newHome(t)
	if err := os.MkdirAll(h.dir+"/.bitcoin", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(h.dir+"/.bitcoin/.cookie", []byte("__cookie__:secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := h.run()
	h.awaitPrice("a price")
	if want := "node       http://127.0.0.1:8332, main at block 0, publishes at " + node.Endpoint() + "\n"; !strings.Contains(p.Printed(), want) {
		t.Errorf("got output without %q:\n%s", want, p.Printed())
	}
	p.Stop(t)
}

// TestStandalone_ExitsWithReason: each fault is reported in one sentence, which says what to do.
func TestStandalone_ExitsWithReason(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	node := mainnetNode(t)
	t.Cleanup(node.Close)
	for name, c := range map[string]struct {
		set  func(h *home)
		want []string
	}{
		"no node": {func(*home) {}, []string{"found no node on this machine: start bitcoind with server=1", "--rpc-cookie PATH", "none of these cookies exists: ", "/.bitcoin/.cookie, "}},
		"no credentials": {func(h *home) { h.env = append(h.env, "SIGHTGLASS_RPC=http://127.0.0.1:1") },
			[]string{"--rpc http://127.0.0.1:1 has no credentials: add --rpc-cookie PATH"}},
		"peers and a node": {func(h *home) { h.env = append(h.env, "SIGHTGLASS_PEERS=true", "SIGHTGLASS_ZMQ=tcp://127.0.0.1:1") },
			[]string{"--peers is set, and --zmq too"}},
		"the port is in use": {func(h *home) {
			h.use(node.RPCURL())
			h.env = append(h.env, "SIGHTGLASS_LISTEN="+taken.Addr().String())
		}, []string{"--listen: listen tcp " + taken.Addr().String() + ": bind: address already in use: choose another address, or stop the program that has it"}},
		"the data directory is not a directory": {func(h *home) {
			h.use(node.RPCURL())
			h.env = append(h.env, "SIGHTGLASS_DATA_DIR=/dev/null/data")
		}, []string{"the data directory /dev/null/data cannot be written: ", "choose another with --data-dir"}},
		"wrong password": {func(h *home) {
			h.use(proxy(t, node, func(w http.ResponseWriter, _ []byte) bool { w.WriteHeader(http.StatusUnauthorized); return true }))
		}, []string{"no valid user and password", "--rpc-user and --rpc-password must match"}},
		"bitcoind without ZMQ": {func(h *home) {
			h.use(proxy(t, node, func(w http.ResponseWriter, body []byte) bool {
				if strings.Contains(string(body), "getzmqnotifications") {
					w.WriteHeader(http.StatusNotFound)
					fmt.Fprint(w, `{"result":null,"error":{"code":-32601,"message":"Method not found"},"id":3}`)
					return true
				}
				return false
			}))
		}, []string{"bitcoind is built without ZMQ"}},
		"an address that cannot be used": {func(h *home) {
			h.use(answering(t, node, "getzmqnotifications", `[{"type":"pubrawtx","address":"tcp://127.0.0.1:1\nrpcallowip=0.0.0.0/0\u001b[2J","hwm":1}]`))
		}, []string{"the node says that it publishes at an address that cannot be used: ", `\nrpcallowip=`, "set --zmq to where it can be reached"}},
		"an invalid setting": {func(h *home) { h.env = append(h.env, "SIGHTGLASS_MAX_PER_ADDRESS=0") }, []string{"--max-per-address 0: want 1 or more"}},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHome(t)
			c.set(h)
			p := h.run()
			if code := p.ExitCode(); code == 0 {
				t.Errorf("got status 0, want another one")
			}
			out := p.Output()
			last := strings.TrimSpace(out[strings.LastIndex("\n"+strings.TrimRight(out, "\n"), "\n"):])
			for _, want := range c.want {
				if !strings.Contains(last, want) {
					t.Errorf("got last line %q, want it to contain %q; the output:\n%s", last, want, out)
				}
			}
		})
	}
}

// TestStandalone_UnreadableFiles: the program's user may not read the node's cookie, or write the data directory.
func TestStandalone_UnreadableFiles(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("starting the program as another user needs root")
	}
	public, err := os.MkdirTemp("", "sightglass-home-") // t.TempDir is below a directory for this user only
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(public) }) //nolint:errcheck // it is in the folder for temporary files
	binary, err := os.ReadFile(programs.Build(t, "infra", "sightglass"))
	if err != nil {
		t.Fatal(err)
	}
	program := public + "/sightglass"
	const nobody = 65534
	for _, err := range []error{
		os.Chmod(public, 0o755), os.WriteFile(program, binary, 0o755), os.Mkdir(public+"/.bitcoin", 0o710),
		os.WriteFile(public+"/.bitcoin/.cookie", []byte("a:b"), 0o640),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		env  string
		want []string
	}{
		"cookie":         {"A=b", []string{"cannot read the node's cookie: open " + public + "/.bitcoin/.cookie: permission denied; ", "rpccookieperms=group", "`sudo adduser nobody bitcoin`"}},
		"data directory": {"SIGHTGLASS_RPC=http://user:password@127.0.0.1:1", []string{"the data directory " + public + "/.local/state/sightglass cannot be written: mkdir ", "permission denied; give this user the right to, or choose another with --data-dir"}},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := exec.Command(program, "run", "--listen", programs.FreeAddr(t))
			cmd.Env, cmd.Dir = []string{"HOME=" + public, c.env}, public
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
			p := programs.LaunchCommand(t, cmd)
			if code := p.ExitCode(); code != 1 {
				t.Errorf("got status %d, want 1", code)
			}
			for _, want := range c.want {
				if out := p.Output(); !strings.Contains(out, want) {
					t.Errorf("got %q, want it to contain %q", out, want)
				}
			}
		})
	}
}

// TestStandalone_WaitsForNode: the node is not ready at first. The program says what it waits for, and continues by itself.
func TestStandalone_WaitsForNode(t *testing.T) {
	for name, c := range map[string]struct{ method, result, want string }{
		"initial download": {"getblockchaininfo", `{"chain":"main","blocks":100,"headers":900000,"bestblockhash":"` + strings.Repeat("00", 32) + `","initialblockdownload":true}`,
			"The node is in its initial block download, at block 100 of 900000: there is no new price until it is complete"},
		"publishes nothing": {"getzmqnotifications", `[]`,
			"Add to bitcoin.conf, and restart bitcoind; sightglass waits for it:\n\nzmqpubrawtx=tcp://127.0.0.1:28332\nzmqpubsequence=tcp://127.0.0.1:28332\n\n"},
		"publishes hashblock": {"getzmqnotifications", `[{"type":"pubsequence","address":"tcp://127.0.0.1:28999","hwm":1000}]`,
			"sightglass waits for it:\n\nzmqpubrawtx=tcp://127.0.0.1:28999\n\n"},
		"starts": {"getblockchaininfo", "", `msg="waiting for the node" component=standalone err="bitcoind at http://127.0.0.1:`},
		"another program": {"getblockchaininfo", `{"chain":"\u001b[31m","bestblockhash":"` + strings.Repeat("00", 32) + `"}`,
			`err="bitcoind at http://127.0.0.1:`},
	} {
		t.Run(name, func(t *testing.T) {
			node := mainnetNode(t)
			daemons.Run(t, node.Run)
			ready := make(chan struct{})
			twisted := answering(t, node, c.method, c.result)
			if c.result == "" {
				twisted = proxy(t, node, func(w http.ResponseWriter, _ []byte) bool {
					w.WriteHeader(http.StatusInternalServerError)
					fmt.Fprint(w, `{"result":null,"error":{"code":-28,"message":"Loading block index…"},"id":1}`)
					return true
				})
			}
			later, first := forward(t, node.RPCURL()), forward(t, twisted)
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				select {
				case <-ready:
					later.ServeHTTP(w, r)
				default:
					first.ServeHTTP(w, r)
				}
			})}
			go server.Serve(ln) //nolint:errcheck // it is closed
			t.Cleanup(func() { server.Close() })
			h := newHome(t)
			h.use("http://" + ln.Addr().String())
			p := h.run()
			programs.Until(t, "the reason", func() bool { return strings.Contains(p.Printed(), c.want) || !p.Running() })
			if !p.Running() {
				t.Fatalf("got an end, want the program to wait:\n%s", p.Output())
			}
			programs.Until(t, "the dashboard", func() bool { return programs.Alive(h.addr) })
			close(ready)
			h.awaitPrice("a price after the node is ready")
			p.Stop(t)
		})
	}
}

// TestStandalone_PrintsNoPassword: neither the RPC's password nor Redis's is printed or logged.
func TestStandalone_PrintsNoPassword(t *testing.T) {
	node := mainnetNode(t)
	daemons.Run(t, node.Run)
	redis := redistest.Start(t)
	h := newHome(t)
	h.env = append(h.env, "SIGHTGLASS_RPC="+strings.Replace(node.RPCURL(), "//", "//alice:geheim@", 1),
		"SIGHTGLASS_REDIS="+strings.Replace(redis.URL(), "//", "//default:geheim@", 1), "SIGHTGLASS_LOG_LEVEL=debug")
	p := h.run()
	h.awaitPrice("a price")
	p.Stop(t)
	if out := p.Output(); strings.Contains(out, "geheim") || !strings.Contains(out, "node       "+node.RPCURL()) {
		t.Errorf("got output with a password, or without the node:\n%s", out)
	}
}

// TestStandalone_OtherNetwork: the data directory has mainnet's history, and the node is on another network.
func TestStandalone_OtherNetwork(t *testing.T) {
	node := mainnetNode(t)
	daemons.Run(t, node.Run)
	h := newHome(t)
	h.use(node.RPCURL())
	p := h.run()
	h.awaitPrice("a price")
	second := h.run()
	if want := fmt.Sprintf("is in use by process %d (sightglass ", p.PID()); second.ExitCode() != 1 || !strings.Contains(second.Output(), want) {
		t.Errorf("got %q from a second program, want it to contain %q", second.Output(), want)
	}
	p.Stop(t)
	h.use(answering(t, node, "getblockchaininfo", `{"chain":"signet","blocks":1,"headers":1,"bestblockhash":"`+strings.Repeat("00", 32)+`"}`))
	p = h.run()
	if want := "has the history of the network main, and the node is on signet: connect to a node of main, or choose another directory with --data-dir"; p.ExitCode() != 1 || !strings.Contains(p.Output(), want) {
		t.Errorf("got %q, want it to contain %q", p.Output(), want)
	}
}

// BenchmarkStandalone measures the whole program, redis-server included, beside a node with 100,000 transactions of the
// last 3 h in its mempool: memory when it is in sync, and the time from its start to the first price, without a state and
// after a restart.
func BenchmarkStandalone(b *testing.B) {
	const rounds = 31 // of 3,314 transactions
	node := nodeWith(b, rounds, 170*time.Minute)
	b.Cleanup(node.Close)
	for {
		if _, ok, err := node.Step(replay.Deliver); err != nil {
			b.Fatal(err)
		} else if !ok {
			break
		}
	}
	ids, _ := node.Mempool()
	for b.Loop() {
		h := newHome(b)
		h.use(node.RPCURL())
		began := time.Now()
		cold := h.run()
		h.awaitPrice("a price")
		b.ReportMetric(time.Since(began).Seconds(), "s-cold")
		programs.Until(b, "the mempool to be evidence", func() bool {
			s := h.snapshot()
			return s != nil && int(s.Stats.TotalReceived) == len(ids)
		})
		b.ReportMetric(float64(len(ids)), "transactions")
		b.ReportMetric(memory(b, cold.PID(), "VmRSS"), "MB")
		b.ReportMetric(memory(b, cold.PID(), "VmHWM"), "MB-peak")
		programs.Until(b, "an entry in the history", func() bool { return len(h.history()) > 0 })
		cold.Stop(b)
		began = time.Now()
		again := h.run()
		h.awaitPrice("a price")
		b.ReportMetric(time.Since(began).Seconds(), "s-restarted")
		if len(h.history()) == 0 {
			b.Error("got no history with the first price after a restart, want the old one")
		}
		again.Stop(b)
	}
}

// memory returns a figure in /proc/PID/status in MB, the sum over a process and its children.
func memory(b *testing.B, pid int, name string) (megabytes float64) {
	b.Helper()
	pids := strings.Fields(fmt.Sprint(pid))
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid)) // the pattern is valid
	for _, thread := range threads {
		children, err := os.ReadFile(thread)
		if err != nil {
			b.Fatal(err)
		}
		pids = append(pids, strings.Fields(string(children))...)
	}
	if len(pids) != 2 {
		b.Errorf("got processes %v, want the program and redis-server", pids)
	}
	for _, pid := range pids {
		status, err := os.ReadFile("/proc/" + pid + "/status")
		if err != nil {
			b.Fatal(err)
		}
		for line := range strings.Lines(string(status)) {
			if value, ok := strings.CutPrefix(line, name+":"); ok {
				var kB float64
				if _, err := fmt.Sscan(value, &kB); err != nil {
					b.Fatal(err)
				}
				megabytes += kB / 1000
			}
		}
	}
	return megabytes
}
