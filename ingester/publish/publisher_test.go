package publish

import (
	"testing"

	"sightglass/shared/contract"
)

// TestTick_KeepsWhatItLacks: a tick that replaces another one has its rare parts, unless it has newer ones.
func TestTick_KeepsWhatItLacks(t *testing.T) {
	points, evidence := []contract.PointAmount{{Price: 1}}, &contract.Evidence{Price: 1}
	old := &Tick{State: []byte("old"), Points: points, Evidence: evidence}
	var bare Tick
	bare.keep(old)
	if string(bare.State) != "old" || len(bare.Points) != 1 || bare.Evidence != evidence {
		t.Errorf("got %+v, want what the old tick has", bare)
	}
	newer := Tick{State: []byte("new"), Points: []contract.PointAmount{}, Evidence: &contract.Evidence{Price: 2}}
	newer.keep(old)
	if string(newer.State) != "new" || len(newer.Points) != 0 || newer.Evidence.Price != 2 {
		t.Errorf("got %+v, want its own", newer)
	}
}
