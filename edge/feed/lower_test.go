package feed

import (
	"testing"
	"testing/synctest"
	"time"

	"sightglass/shared/contract"
)

// TestLowerRun_IsLongEnough: which snapshots on the channel let the feed accept a lower epoch.
func TestLowerRun_IsLongEnough(t *testing.T) {
	type received struct {
		epoch contract.Epoch
		seq   uint64
		times int // seq rises by one each contract.Interval
	}
	const enough = int(contract.StepBackAfter/contract.Interval) + 1
	pause := received{}
	for name, c := range map[string]struct {
		received []received
		want     bool
	}{
		"for long enough":                         {[]received{{"5", 1, enough}}, true},
		"not for long enough":                     {[]received{{"5", 1, enough - 1}}, false},
		"the higher epoch in between":             {[]received{{"5", 1, enough - 1}, {"7", 9, 1}, {"5", 50, enough - 1}}, false},
		"a repeated snapshot of the higher epoch": {[]received{{"5", 1, enough - 1}, {"7", 8, 1}, {"5", 50, enough - 1}}, false},
		"an epoch higher still":                   {[]received{{"5", 1, enough - 1}, {"8", 1, 1}, {"5", 50, enough - 1}}, false},
		"the next leader":                         {[]received{{"5", 1, enough - 1}, {"6", 1, 1}}, true},
		"back to an epoch before":                 {[]received{{"6", 1, enough - 1}, {"5", 50, 1}}, false},
		"a repeated snapshot":                     {[]received{{"5", 1, 1}, {"5", 1, 1}, {"5", 1, enough - 2}, {"5", 1, 1}}, false},
		"after a silence":                         {[]received{{"5", 1, enough - 1}, pause, {"5", 50, 1}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, delivered := watched(t)
				f.receive(encoded("7", 8), published, nil)
				<-delivered
				var lower lowerRun
				for _, r := range c.received {
					if r == pause {
						time.Sleep(contract.StaleAfter)
					}
					for i := range r.times {
						time.Sleep(contract.Interval)
						f.receive(encoded(r.epoch, r.seq+uint64(i)), published, &lower)
						f.receive([]byte("nonsense"), published, &lower)
					}
				}
				if got := lower.isLongEnough(); got != c.want {
					t.Errorf("got long enough: %v, want %v", got, c.want)
				}
			})
		})
	}
}
