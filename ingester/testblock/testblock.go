// Package testblock provides real transactions for tests: two mainnet blocks from btcd's module, and the larger data
// set that may exist beside the repository.
package testblock

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The blocks in btcd's module, by height.
const (
	Block574200 = "block-0000000000000000001602407ac49862a7bca9d00f7f402db20b7be2f5de59d2.blk" // 2 May 2019, about 5,313 USD
	Block540107 = "block-00000000000000000021868c2cefc52a480d173c849412fe81c4e5ab806f94ab.blk" // 5 Sep 2018, about 6,887 USD
)

// Price574200 is an exchange's price at block 574200's minute, in USD.
const Price574200 = 5313.57

// Path returns the path of one of btcd's blocks. It runs go list for a package, which downloads the module if
// necessary; `go list -m` would print an empty path without an error.
func Path(t testing.TB, name string) string {
	t.Helper()
	var stderr strings.Builder
	list := exec.Command("go", "list", "-f", "{{.Dir}}", "github.com/btcsuite/btcd/wire")
	list.Stderr = &stderr
	dir, err := list.Output()
	if err != nil {
		t.Fatalf("go list github.com/btcsuite/btcd/wire: %v\n%s", err, stderr.String())
	}
	return filepath.Join(strings.TrimSpace(string(dir)), "testdata", name)
}

// Data returns the path of a file of the larger data set: in $SIGHTGLASS_DATA, or in shared/data beside the repository.
// If the file does not exist, it skips the test.
func Data(t testing.TB, name string) string {
	t.Helper()
	if dir := os.Getenv("SIGHTGLASS_DATA"); dir != "" {
		return existing(t, filepath.Join(dir, name))
	}
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for up := filepath.Dir(dir); up != dir; dir, up = up, filepath.Dir(up) {
		if _, err := os.Stat(filepath.Join(dir, "go.work")); err == nil {
			return existing(t, filepath.Join(up, "shared", "data", name))
		}
	}
	t.Skip("no go.work above the test, so ../shared/data is unknown; set SIGHTGLASS_DATA")
	return ""
}

func existing(t testing.TB, path string) string {
	t.Helper()
	if _, err := os.Stat(path); err != nil {
		t.Skipf("no real data (%v); set SIGHTGLASS_DATA to its folder", err)
	}
	return path
}
