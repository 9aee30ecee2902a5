package peers

import (
	"fmt"
	"math"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"sightglass/infra/test/internal/btcnet"
	"sightglass/infra/test/internal/programs"
	"sightglass/ingester/testblock"
	"sightglass/shared/contract"
)

// program runs sightglass without a node, with eight of a network's nodes as peers, and returns its addresses.
func program(t testing.TB, net *btcnet.Net) (p *programs.Process, addr, internal string) {
	t.Helper()
	addr, internal = programs.FreeAddr(t), programs.FreeAddr(t)
	cmd := exec.Command(programs.Build(t, "infra", "sightglass"), "run", "--peers", strings.Join(net.Addrs(), ","), "--peers-network", "simnet",
		"--listen", addr, "--internal-listen", internal)
	cmd.Env = []string{"HOME=" + t.TempDir(), "PATH=" + os.Getenv("PATH")}
	return programs.LaunchCommand(t, cmd), addr, internal
}

// price returns the newest snapshot; nil if there is none yet.
func price(addr string) *contract.Snapshot {
	body, err := programs.Get("http://" + addr + "/api/v1/snapshot")
	if err != nil {
		return nil
	}
	s, err := contract.DecodeSnapshot(body)
	if err != nil {
		return nil
	}
	return s
}

// pay makes payments like those of block 574200 until the test ends.
func pay(t testing.TB, net *btcnet.Net, perSecond float64) {
	t.Helper()
	var paying sync.WaitGroup
	paying.Go(func() { net.PayLike(t, btcnet.RealBlock(t)[1:], perSecond) })
	t.Cleanup(paying.Wait)
}

// TestProgram_PriceFromPeers: the whole program, without a node, has a price from what eight peers relay.
func TestProgram_PriceFromPeers(t *testing.T) {
	net := btcnet.Start(t, 10)
	p, addr, _ := program(t, net)
	programs.Until(t, "eight peers", func() bool { s := price(addr); return s != nil && s.Stats.Peers == 8 })
	pay(t, net, 100)
	programs.Until(t, "a price", func() bool { return price(addr).Price > 0 })
	s := price(addr)
	if off := math.Abs(s.Price/testblock.Price574200 - 1); off > 0.01 || s.Stats.PeersWanted != 8 {
		t.Errorf("got %.2f USD from %d of %d peers, want %.2f within 1 %% from 8 of 8", s.Price, s.Stats.Peers, s.Stats.PeersWanted, testblock.Price574200)
	}
	p.Stop(t)
	if out := p.Output(); !strings.Contains(out, "listening to peers of Bitcoin's network") || !strings.Contains(out, "peers 8 of 8") {
		t.Errorf("got output without the source:\n%s", out)
	}
}

// BenchmarkProgram measures the whole program at mainnet's pace, seven payments a second: the time to the first price, the
// transactions that it took, traffic, CPU time and memory.
func BenchmarkProgram(b *testing.B) {
	net := btcnet.Start(b, 10)
	for b.Loop() {
		p, addr, internal := program(b, net)
		programs.Until(b, "eight peers", func() bool { s := price(addr); return s != nil && s.Stats.Peers == 8 })
		figure := func(series string) float64 {
			body, err := programs.Get("http://" + internal + "/metrics")
			if err != nil {
				b.Fatal(err)
			}
			for line := range strings.Lines(string(body)) {
				var value float64
				if n, _ := fmt.Sscanf(line, series+" %g", &value); n == 1 {
					return value
				}
			}
			b.Fatalf("got no %s in the metrics", series)
			return 0
		}
		const bytes, cpu = "sightglass_peers_bytes_total", "process_cpu_seconds_total"
		received, sent, used, began := figure(bytes+`{direction="received"}`), figure(bytes+`{direction="sent"}`), figure(cpu), time.Now()
		pay(b, net, 7)
		deadline := time.After(5 * time.Minute)
		poll := time.NewTicker(100 * time.Millisecond)
		defer poll.Stop()
		for price(addr).Price == 0 {
			select {
			case <-deadline:
				b.Fatal("waited five minutes for a price")
			case <-poll.C:
			}
		}
		took, s := time.Since(began), price(addr)
		b.ReportMetric(took.Seconds(), "s-to-price")
		b.ReportMetric(float64(s.Stats.TotalReceived), "transactions")
		b.ReportMetric(math.Abs(s.Price/testblock.Price574200-1)*100, "%-off")
		b.ReportMetric((figure(bytes+`{direction="received"}`)-received)/took.Seconds(), "B/s-received")
		b.ReportMetric((figure(bytes+`{direction="sent"}`)-sent)/took.Seconds(), "B/s-sent")
		b.ReportMetric((figure(cpu)-used)/took.Seconds()*1000, "ms-CPU/s")
		b.ReportMetric(figure("process_resident_memory_bytes")/1e6, "MB")
		p.Stop(b)
	}
}
