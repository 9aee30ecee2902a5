package rawtx

import (
	"errors"
	"strings"
	"testing"

	"github.com/btcsuite/btcd/wire"

	"sightglass/ingester/testblock"
)

// TestBuild_RecoversFromPanics shows input that the walk rejects before btcd, and that without the walk btcd's panic
// would be an error.
func TestBuild_RecoversFromPanics(t *testing.T) {
	for _, name := range []string{"input script", "output script", "witness item"} {
		err := build(testblock.Hostile()[name], new(wire.MsgTx).Deserialize)
		at, ok := errors.AsType[*Error](err)
		if !ok || !strings.Contains(err.Error(), "btcd panicked") || at.Offset < 195_000 {
			t.Errorf("%s: got %v, want a panic of btcd as an Error behind the long script", name, err)
		}
	}
}
