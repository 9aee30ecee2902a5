package commands

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"log"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sightglass/ingester/testblock"
)

// priced runs the command and decodes its output.
func priced(t *testing.T, stdin string, files ...string) (answers []map[string]any, stderr string, err error) {
	t.Helper()
	var out, stderrText bytes.Buffer
	err = (&Price{Format: "json", Files: files}).priceAll(strings.NewReader(stdin), &out, log.New(&stderrText, "", 0))
	for dec := json.NewDecoder(&out); dec.More(); {
		var a map[string]any
		if err := dec.Decode(&a); err != nil {
			t.Fatal(err)
		}
		answers = append(answers, a)
	}
	return answers, stderrText.String(), err
}

func TestPrice_RealTransactions(t *testing.T) {
	for name, c := range map[string]struct {
		path  func(*testing.T) string
		truth float64
		count float64
	}{
		"block 574200":       {func(t *testing.T) string { return testblock.Path(t, testblock.Block574200) }, testblock.Price574200, 3315},
		"block 574200, gzip": {func(t *testing.T) string { return testblock.Data(t, "blocks/574200.raw.gz") }, testblock.Price574200, 3315},
		"mempool of 2024":    {func(t *testing.T) string { return testblock.Data(t, "mempool-2024-03-14.hex.gz") }, 73_200, 4065},
	} {
		t.Run(name, func(t *testing.T) {
			path := c.path(t)
			got, _, err := priced(t, "", path)
			if err != nil || len(got) != 1 {
				t.Fatalf("got %v %v, want one answer", got, err)
			}
			a := got[0]
			if off := math.Abs(a["price"].(float64)/c.truth - 1); off > 0.01 {
				t.Errorf("got price %v, %.1f %% off %v, want it within the tolerance", a["price"], off*100, c.truth)
			}
			if a["file"] != path || a["transactions"] != c.count || a["outputs_used"].(float64) < 1000 {
				t.Errorf("got %v, want the file, the count and 1000 outputs or more", a)
			}
			if !(a["low"].(float64) < a["price"].(float64) && a["price"].(float64) < a["high"].(float64)) {
				t.Errorf("got a price outside its interval: %v", a)
			}
		})
	}
}

func TestPrice_JSONKeys(t *testing.T) {
	got, _, err := priced(t, "", testblock.Path(t, testblock.Block540107))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"confidence", "file", "high", "low", "outputs_used", "price", "status", "transactions"}
	var keys []string
	for k := range got[0] {
		keys = append(keys, k)
	}
	if slices.Sort(keys); !slices.Equal(keys, want) {
		t.Errorf("got keys %v, want %v", keys, want)
	}
}

func TestPrice_BadFileAffectsNoOther(t *testing.T) {
	bad := filepath.Join(t.TempDir(), "letter.txt")
	if err := os.WriteFile(bad, []byte("Dear Sir or Madam"), 0o600); err != nil {
		t.Fatal(err)
	}
	good := testblock.Path(t, testblock.Block574200)
	got, stderr, err := priced(t, "", bad, good)
	if !errors.Is(err, errSomeFiles) {
		t.Errorf("got %v, want an error", err)
	}
	if len(got) != 1 || got[0]["file"] != good {
		t.Errorf("got %v, want the good file's price", got)
	}
	for _, want := range []string{bad, "byte ", "expected a block"} {
		if !strings.Contains(stderr, want) {
			t.Errorf("got stderr %q, want it to contain %q", stderr, want)
		}
	}
}

// TestPrice_DamagedFiles: files that make btcd panic, and a block of which three bytes of a length are wrong.
func TestPrice_DamagedFiles(t *testing.T) {
	dir, good := t.TempDir(), testblock.Path(t, testblock.Block540107)
	damaged, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	copy(damaged[80+1+4+2+1+36:], []byte{0xfe, 0xff, 0xff}) // the length of the coinbase's script
	files := map[string][]byte{"damaged.blk": damaged}
	for name, raw := range testblock.Hostile() {
		files[name+".blk"] = slices.Concat(make([]byte, 80), []byte{1}, raw)
		files[name+".hex"] = hex.AppendEncode(nil, raw)
	}
	var paths []string
	for name, data := range files {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	got, stderr, err := priced(t, "", append(paths, good)...)
	if !errors.Is(err, errSomeFiles) || len(got) != 1 || got[0]["file"] != good {
		t.Errorf("got %v, %v; want an error, and the good file's price", got, err)
	}
	for _, path := range paths {
		place := regexp.MustCompile(regexp.QuoteMeta(path) + `: (line 1 \()?byte [1-9][0-9]*\)?: not a (block|transaction): expected .*; expected a block`)
		if !place.MatchString(stderr) {
			t.Errorf("got stderr %s\nwant a match of %v", stderr, place)
		}
	}
}

func TestPrice_TooFewTransactions(t *testing.T) {
	const genesis = "01000000010000000000000000000000000000000000000000000000000000000000000000ffffffff4d04ffff001d0104455468652054696d65732030332f4a616e2f32303039204368616e63656c6c6f72206f6e206272696e6b206f66207365636f6e64206261696c6f757420666f722062616e6b73ffffffff0100f2052a01000000434104678afdb0fe5548271967f1a67130b7105cd6a828e03909a67962e0ea1f61deb649f6bc3f4cef38c4f35504e51ec112de5c384df7ba0b8d578a4c702b6bf11d5fac00000000\n"
	got, _, err := priced(t, genesis, "-")
	if err != nil || got[0]["price"] != 0.0 || got[0]["confidence"] != 0.0 || got[0]["status"] != "warming" {
		t.Errorf("got %v %v, want no price", got, err)
	}
}

func TestPrice_Text(t *testing.T) {
	for name, c := range map[string]struct {
		result result
		want   string
	}{
		"live": {
			result{Status: "live", Price: 5313.5, Confidence: 0.9, Low: 5300, High: 5330},
			"f: 5313.50 USD, confidence 0.900, 90 % between 5300.00 and 5330.00 (20 payments of 30 transactions)\n",
		},
		"contested": {
			result{Status: "contested", Price: 5313.5, Confidence: 0.5, Low: 5100, High: 5330},
			"f: 5313.50 USD, confidence 0.500, 90 % between 5100.00 and 5330.00 (20 payments of 30 transactions); " +
				"contested: round amounts are paid at a second price\n",
		},
		"weak evidence": {result{Status: "warming", Confidence: 0.2}, "f: no price found in 20 payments of 30 transactions\n"},
	} {
		t.Run(name, func(t *testing.T) {
			c.result.File, c.result.OutputsUsed, c.result.Transactions = "f", 20, 30
			var out strings.Builder
			if err := (&Price{Format: "text"}).print(&out, c.result); err != nil || out.String() != c.want {
				t.Errorf("got %q, %v\nwant %q", out.String(), err, c.want)
			}
		})
	}
}
