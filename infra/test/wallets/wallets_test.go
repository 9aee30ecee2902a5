// Package wallets tests that clients of mempool.space's API work with an edge when its address replaces mempool.space's. The
// clients are in no registry that the other tests use. Clone them into a folder, and name it in SIGHTGLASS_WALLETS:
//
//	git clone https://github.com/holgern/pymempool      # commit 7e6e13f was tested
//	git clone https://github.com/satsigner/satsigner    # commit 498d813
package wallets

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"sightglass/edge"
	"sightglass/infra/test/internal/daemons"
	"sightglass/infra/test/internal/programs"
	"sightglass/infra/test/internal/redistest"
	"sightglass/shared/contract"
	"sightglass/shared/history"
)

// midnight is the first second of an hour with a candle.
const midnight = 1556755200

// TestWallets_GetPricesFromEdge: each client gets the price now and the price in the middle of an hour, and no price of a time
// before all prices.
func TestWallets_GetPricesFromEdge(t *testing.T) {
	addr := "http://" + startEdge(t)
	all := []any{map[string]any{"time": 1556758800., "USD": 400.}, map[string]any{"time": 1556755200., "USD": 100.}}
	at := []any{map[string]any{"time": 1556757000., "USD": 200.}}
	rates := map[string]any{}
	for name, c := range map[string]struct {
		command func(t *testing.T) *exec.Cmd
		want    map[string]any
	}{
		"pymempool": {pymempool, map[string]any{
			"prices":   map[string]any{"time": 4e9, "USD": 116755.},
			"usdAt":    map[string]any{"prices": at, "exchangeRates": rates},
			"eurAt":    "",
			"tooEarly": map[string]any{"prices": []any{}, "exchangeRates": rates},
			"all":      map[string]any{"prices": all, "exchangeRates": rates},
		}},
		"satsigner": {satsigner, map[string]any{
			"prices":       map[string]any{"time": 4e9, "USD": 116755.},
			"usd":          116755.,
			"eur":          "error: ERROR: Unavailable price for EUR",
			"usdAt":        200.,
			"fullAt":       map[string]any{"USD": 200.},
			"pricesAt":     []any{200., 400.},
			"fullTooEarly": "error: ERROR: Unavailable price for USD at 1",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := c.command(t)
			cmd.Args = append(cmd.Args, addr, "1556757000")
			cmd.Stderr = t.Output()
			out, err := cmd.Output()
			t.Logf("%s", out)
			if err != nil {
				t.Fatal(err)
			}
			var got map[string]any
			if err := json.Unmarshal(out, &got); err != nil {
				t.Fatal(err)
			}
			for _, key := range slices.Sorted(maps.Keys(c.want)) {
				if !reflect.DeepEqual(got[key], c.want[key]) {
					t.Errorf("%s: got %v, want %v", key, got[key], c.want[key])
				}
			}
		})
	}
}

// startEdge runs an edge with a live price and two hours of history, and returns its address.
func startEdge(t *testing.T) string {
	t.Helper()
	server := redistest.Start(t)
	client := server.Client()
	hour := func(start int64, open, last float64) history.Candle {
		return history.Candle{Start: start, Open: open, High: last, Low: open, Close: last, Confidence: 0.9}
	}
	if err := history.Hours.Write(t.Context(), client, hour(midnight, 100, 400), hour(midnight+history.Hour, 400, 400)); err != nil {
		t.Fatal(err)
	}
	s := contract.Snapshot{Price: 116754.75, Status: contract.Live, Timestamp: 4e9, Epoch: "1"}
	daemons.Run(t, func(ctx context.Context) error { // without new snapshots the price is soon stale
		ticker := time.NewTicker(contract.Interval)
		defer ticker.Stop()
		for {
			s.Seq++
			text := s.AppendJSON(nil)
			client.Set(ctx, contract.KeyLatest, text, 0)
			client.Publish(ctx, contract.Channel, text)
			select {
			case <-ctx.Done():
				return nil
			case <-ticker.C:
			}
		}
	})
	e := daemons.StartEdge(t, slog.New(slog.DiscardHandler), func(o *edge.Options) { o.Redis = server.URL() })
	programs.Until(t, "the price", func() bool {
		body, err := programs.Get("http://" + e.Addr().String() + "/price")
		return err == nil && string(body) == "116754.75\n"
	})
	return e.Addr().String()
}

// source returns the folder of a client's clone.
func source(t *testing.T, name string) string {
	t.Helper()
	folder := os.Getenv("SIGHTGLASS_WALLETS")
	if folder == "" {
		skip(t, "SIGHTGLASS_WALLETS is not set: it names a folder with clones of pymempool and satsigner")
	}
	path := filepath.Join(folder, name)
	if _, err := os.Stat(path); err != nil {
		skip(t, fmt.Sprintf("no clone of %s: %v", name, err))
	}
	return path
}

func pymempool(t *testing.T) *exec.Cmd {
	path := "PYTHONPATH=" + source(t, "pymempool")
	for _, python := range []string{"python3", "/usr/bin/python3"} { // Debian's packages are for Debian's Python
		if exec.Command(python, "-c", "import requests, websockets").Run() == nil {
			cmd := exec.Command(python, "ask_pymempool.py")
			cmd.Env = append(os.Environ(), path)
			return cmd
		}
	}
	skip(t, "no Python that has requests and websockets is installed")
	return nil
}

func satsigner(t *testing.T) *exec.Cmd {
	root := source(t, "satsigner")
	modules, err := filepath.Abs("node_modules")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(modules, ".bin", "esbuild")); err != nil {
		skip(t, "esbuild is not installed: npm ci --ignore-scripts in infra/test/wallets installs it")
	}
	bundle := filepath.Join(t.TempDir(), "satsigner.mjs")
	build := exec.Command(filepath.Join(modules, ".bin", "esbuild"), "ask_satsigner.mjs", "--bundle", "--platform=node", "--format=esm",
		"--log-level=warning", "--alias:@="+filepath.Join(root, "apps", "mobile"), "--outfile="+bundle)
	build.Env = append(os.Environ(), "NODE_PATH="+modules) // for the imports of the clone
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, strings.TrimSpace(string(out)))
	}
	return exec.Command("node", bundle)
}

// skip skips the test and prints why, also without -v.
func skip(t *testing.T, reason string) {
	t.Helper()
	fmt.Fprintln(os.Stderr, "SKIPPED:", t.Name()+":", reason)
	t.Skip(reason)
}
