package programs

import (
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// built are the programs that Built has made, by module, in a folder that Main clears away.
var built struct {
	sync.Mutex
	dir string
}

// Main runs a package's tests and clears away what Built has made. For TestMain.
func Main(m *testing.M) {
	code := m.Run()
	if built.dir != "" {
		os.RemoveAll(built.dir) //nolint:errcheck // a folder of the system's for what may be lost
	}
	os.Exit(code)
}

// Built is Build, once for all tests of a package that has Main, of the module's program that has its name.
func Built(t testing.TB, name string) string {
	t.Helper()
	built.Lock()
	defer built.Unlock()
	if built.dir == "" {
		dir, err := os.MkdirTemp("", "sightglass")
		if err != nil {
			t.Fatal(err)
		}
		built.dir = dir
	}
	program := filepath.Join(built.dir, name)
	if _, err := os.Stat(program); err != nil {
		build(t, name, name, program)
	}
	return program
}
