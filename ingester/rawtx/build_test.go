package rawtx

import (
	"errors"
	"strings"
	"testing"

	"github.com/btcsuite/btcd/wire"

	"sightglass/ingester/testblock"
)

// TestBuild_RecoversFromPanics shows what the walk keeps from btcd, and that it would be an error without the walk.
func TestBuild_RecoversFromPanics(t *testing.T) {
	for _, name := range []string{"input script", "output script", "witness item"} {
		err := build(testblock.Hostile()[name], new(wire.MsgTx).Deserialize)
		at, ok := errors.AsType[*Error](err)
		if !ok || !strings.Contains(err.Error(), "btcd panicked") || at.Offset < 195_000 {
			t.Errorf("%s: got %v, want a panic of btcd as an Error behind the long script", name, err)
		}
	}
}
