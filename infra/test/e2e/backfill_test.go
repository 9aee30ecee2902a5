package e2e

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/btcsuite/btcd/wire"
	"github.com/redis/go-redis/v9"

	"sightglass/infra/test/internal/programs"
	"sightglass/infra/test/internal/redistest"
	"sightglass/ingester/replay"
	"sightglass/ingester/testblock"
	"sightglass/ingester/testchain"
	"sightglass/ingester/txfile"
	"sightglass/shared/contract"
	"sightglass/shared/history"
)

// TestBackfill_RunKeepsBlocks: an ingester fills the time that --backfill names, and then adds each new block.
func TestBackfill_RunKeepsBlocks(t *testing.T) {
	server := redistest.Start(t)
	chain := testchain.New(t, 1, 250, 300, time.Now().Add(-time.Minute))
	node := chain.Serve(t, 249)
	programs.Launch(t, programs.Build(t, "ingester", "ingester"), "run", "--zmq", node.Endpoint(), "--redis", server.URL(),
		"--rpc", node.RPCURL(), "--rpc-user", "u", "--rpc-password", "p", "--backfill", "24h")
	client := server.Client()
	awaitBlocks(t, client, chain.First+248)
	var rows []history.Block
	programs.Until(t, "blocks of a day", func() (ok bool) {
		var err error
		rows, _, err = history.Blocks.ReadAll(t.Context(), client)
		return err == nil && len(rows) > 0 && time.Since(time.Unix(rows[0].Timestamp, 0)) > 23*time.Hour
	})
	if age := time.Since(time.Unix(rows[0].Timestamp, 0)); age > 25*time.Hour {
		t.Errorf("got blocks from %v on, want a day", age)
	}
	for _, b := range rows {
		if truth := chain.PriceAt(b.Height); b.Price < 0.98*truth || b.Price > 1.02*truth {
			t.Errorf("block %d: got %v, want %.2f within 2 %%", b.Height, b.Price, truth)
		}
	}
	node.Mine(t)
	awaitBlocks(t, client, chain.Tip())
}

func awaitBlocks(t testing.TB, client *redis.Client, to int64) {
	t.Helper()
	programs.Until(t, fmt.Sprintf("blocks up to %d", to), func() bool {
		p, err := history.ReadProgress(t.Context(), client)
		return err == nil && p != nil && p.To == to
	})
}

// TestBackfill_CommandContinues stops the command after its first days, and starts it again, beside an ingester.
func TestBackfill_CommandContinues(t *testing.T) {
	server := redistest.Start(t)
	chain := testchain.New(t, 2, 1000, 150, time.Now().Add(-200*24*time.Hour))
	node := chain.Serve(t, 1000)
	ingester := programs.Build(t, "ingester", "ingester")
	programs.Launch(t, ingester, "run", "--zmq", node.Endpoint(), "--redis", server.URL())
	args := []string{
		"backfill", "--rpc", node.RPCURL(), "--rpc-user", "u", "--rpc-password", "p", "--redis", server.URL(),
		"--from-height", fmt.Sprint(chain.First), "--workers", "1",
	}
	first := programs.Launch(t, ingester, args...)
	programs.Until(t, "the first days", func() bool { return server.Client().ZCard(t.Context(), history.KeyDays).Val() >= 2 })
	first.Signal(t, syscall.SIGINT)
	first.Wait()
	if first.ExitCode() != 0 || !strings.Contains(first.Printed(), "the same command continues") {
		t.Errorf("got exit code %d\n%s\nwant 0, and a line that says how to continue", first.ExitCode(), first.Printed())
	}
	second, err := exec.CommandContext(t.Context(), ingester, args...).CombinedOutput()
	if err != nil || !strings.Contains(string(second), "the history has all of these blocks") {
		t.Fatalf("got %v\n%s", err, second)
	}
	days, _, err := history.Days.ReadAll(t.Context(), server.Client())
	if err != nil {
		t.Fatal(err)
	}
	blocks := int64(0)
	for _, d := range days {
		blocks += d.Blocks
	}
	if blocks != 1000 {
		t.Errorf("got %d blocks in %d days, want 1000", blocks, len(days))
	}
	third, err := exec.CommandContext(t.Context(), ingester, append(args, "--to-height", "1")...).CombinedOutput()
	if err == nil || !strings.Contains(string(third), "no such blocks") {
		t.Errorf("a range below: got %v\n%s", err, third)
	}
}

// TestBackfill_OfStandalone adds years to the history of the program that runs in the data directory, and says so if none runs.
func TestBackfill_OfStandalone(t *testing.T) {
	chain := testchain.New(t, 3, 60, 300, time.Now().Add(-100*24*time.Hour))
	h := newHome(t)
	h.use(chain.Serve(t, 60).RPCURL())
	from := []string{"backfill", "--from-height", fmt.Sprint(chain.First)}
	if _, notes := h.command(from...); !strings.Contains(notes, "no sightglass runs with the data directory") {
		t.Errorf("got %s, want an error about the program that does not run", notes)
	}
	program := h.run("--backfill", "0")
	h.env = slices.DeleteFunc(h.env, func(v string) bool { return strings.HasPrefix(v, "SIGHTGLASS_LISTEN=") })
	programs.Until(t, "the program's redis", func() bool { _, notes := h.export(); return notes == "" })
	if printed, notes := h.command(from...); !strings.Contains(printed, "the history has all of these blocks") {
		t.Fatalf("got %s%s", printed, notes)
	}
	if table, notes := h.export(); strings.Count(table, "\ndays,") == 0 {
		t.Errorf("got no days in the history: %s%s", table, notes)
	}
	program.Stop(t)
}

// TestBackfill_FindsNode: without settings the command asks the node on this machine, with the cookie in the home directory.
func TestBackfill_FindsNode(t *testing.T) {
	server := redistest.Start(t)
	h := newHome(t)
	h.env = append(h.env, "SIGHTGLASS_REDIS="+server.URL())
	if err := os.MkdirAll(filepath.Join(h.dir, ".bitcoin"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(h.dir, ".bitcoin", ".cookie"), []byte("__cookie__:secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(programs.Build(t, "infra", "sightglass"), "backfill")
	cmd.Env, cmd.Dir = h.env, h.dir
	program := programs.LaunchCommand(t, cmd)
	programs.Until(t, "a request to the node", func() bool { return strings.Contains(program.Printed(), "bitcoind at http://127.0.0.1:8332") })
	program.Stop(t)
}

// BenchmarkBackfill_BesideLive runs an ingester with mainnet's rate of transactions, 30 s alone and 30 s beside backfills with
// all processors, and reports how late its snapshots come. -benchtime 60x takes an hour.
func BenchmarkBackfill_BesideLive(b *testing.B) {
	server := redistest.Start(b)
	file, err := txfile.Read(testblock.Path(b, testblock.Block574200), nil)
	if err != nil {
		b.Fatal(err)
	}
	live, err := replay.New(replay.Options{Endpoint: "tcp://127.0.0.1:*", Rate: 7, Loop: true, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	replaying, stopReplaying := context.WithCancel(b.Context())
	replayed := make(chan error, 1)
	go func() { replayed <- live.Run(replaying, file.Transactions) }()
	defer func() {
		stopReplaying()
		if err := <-replayed; err != nil {
			b.Error(err)
		}
	}()
	chain := &testchain.Chain{First: 800_000}
	for i := range 100 {
		chain.Add(b, time.Now().Add(time.Duration(i-100*24*6)*10*time.Minute), testblock.Price574200, func(m *wire.MsgBlock) {
			m.Transactions = append(m.Transactions, file.Transactions[1:]...)
		})
	}
	node := chain.Serve(b, len(chain.Blocks))
	ingester := programs.Build(b, "ingester", "ingester")
	programs.Launch(b, ingester, "run", "--zmq", live.Endpoint(), "--redis", server.URL())
	client := server.Client()
	sub := client.Subscribe(b.Context(), contract.Channel)
	defer sub.Close()
	if _, err := sub.ReceiveMessage(b.Context()); err != nil {
		b.Fatal(err)
	}
	snapshots := sub.Channel()
	gaps := make(map[bool][]time.Duration)
	blocks, runs := 0, 0
	for b.Loop() {
		runs++
		for _, beside := range []bool{false, true} {
			filling, stop := context.WithCancel(b.Context())
			filled := make(chan int, 1)
			go func() {
				n := 0
				for beside && filling.Err() == nil {
					client.Del(b.Context(), history.KeyProgress)
					if exec.CommandContext(filling, ingester, "backfill", "--rpc", node.RPCURL(), "--rpc-user", "u", "--rpc-password", "p",
						"--redis", server.URL(), "--from-height", fmt.Sprint(chain.First), "--price-hint", "5300").Run() == nil {
						n += len(chain.Blocks)
					}
				}
				filled <- n
			}()
			<-snapshots
			last := time.Now()
			for end := last.Add(besideLive); last.Before(end); {
				<-snapshots
				now := time.Now()
				gaps[beside] = append(gaps[beside], now.Sub(last))
				last = now
			}
			stop()
			blocks += <-filled
		}
	}
	for beside, name := range map[bool]string{false: "alone", true: "beside"} {
		late := 0
		for _, g := range gaps[beside] {
			if g > contract.Interval*6/5 {
				late++
			}
		}
		b.ReportMetric(float64(len(gaps[beside])), "snapshots-"+name)
		b.ReportMetric(float64(late), "over-600ms-"+name)
		b.ReportMetric(float64(slices.Max(gaps[beside]).Milliseconds()), "ms-longest-"+name)
	}
	b.ReportMetric(float64(blocks)/besideLive.Seconds()/float64(runs), "blocks/s")
}

// besideLive is how long a run of BenchmarkBackfill_BesideLive is, alone and beside.
const besideLive = 30 * time.Second
