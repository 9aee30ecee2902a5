// Package testblock finds real transactions for tests: two mainnet blocks that btcd carries in its module, and the
// larger set of data that may lie beside the repository.
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

// Path gives the path of one of btcd's blocks. Go is asked for a package: it downloads the module if that is not there,
// while `go list -m` would give an empty path without an error.
func Path(t testing.TB, name string) string {
	t.Helper()
	var said strings.Builder
	list := exec.Command("go", "list", "-f", "{{.Dir}}", "github.com/btcsuite/btcd/wire")
	list.Stderr = &said
	dir, err := list.Output()
	if err != nil {
		t.Fatalf("go list github.com/btcsuite/btcd/wire: %v\n%s", err, said.String())
	}
	return filepath.Join(strings.TrimSpace(string(dir)), "testdata", name)
}

// Data gives the path of a file of the larger set: under $SIGHTGLASS_DATA, or in shared/data beside the repository.
// The test is skipped where it is not there.
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
	t.Skip("no go.work above the test: cannot tell where ../shared/data is; set SIGHTGLASS_DATA")
	return ""
}

func existing(t testing.TB, path string) string {
	t.Helper()
	if _, err := os.Stat(path); err != nil {
		t.Skipf("real data is absent (%v); set SIGHTGLASS_DATA to where it is", err)
	}
	return path
}
