package feed

import (
	"testing"
	"testing/synctest"
	"time"

	"sightglass/shared/snapshot"
)

// TestSuccession: what must have come on the channel before a lower epoch is shown.
func TestSuccession(t *testing.T) {
	type heard struct {
		epoch snapshot.Epoch
		seq   uint64
		times int // one after another, seq rising, snapshot.Interval apart
	}
	const enough = int(snapshot.StepBackAfter/snapshot.Interval) + 1
	pause := heard{}
	for name, c := range map[string]struct {
		heard []heard
		want  bool
	}{
		"for long enough":                  {[]heard{{"5", 1, enough}}, true},
		"not for long enough":              {[]heard{{"5", 1, enough - 1}}, false},
		"the higher epoch in between":      {[]heard{{"5", 1, enough - 1}, {"7", 9, 1}, {"5", 50, enough - 1}}, false},
		"a snapshot that is shown already": {[]heard{{"5", 1, enough - 1}, {"7", 8, 1}, {"5", 50, enough - 1}}, false},
		"an epoch higher still":            {[]heard{{"5", 1, enough - 1}, {"8", 1, 1}, {"5", 50, enough - 1}}, false},
		"the next leader":                  {[]heard{{"5", 1, enough - 1}, {"6", 1, 1}}, true},
		"back to an epoch before":          {[]heard{{"6", 1, enough - 1}, {"5", 50, 1}}, false},
		"the same again and again":         {[]heard{{"5", 1, 1}, {"5", 1, 1}, {"5", 1, enough - 2}, {"5", 1, 1}}, false},
		"after a silence":                  {[]heard{{"5", 1, enough - 1}, pause, {"5", 50, 1}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, delivered := watched(t)
				f.take(encoded("7", 8), nil)
				<-delivered
				var lower succession
				for _, h := range c.heard {
					if h == pause {
						time.Sleep(snapshot.StaleAfter)
					}
					for i := range h.times {
						time.Sleep(snapshot.Interval)
						f.take(encoded(h.epoch, h.seq+uint64(i)), &lower)
						f.take([]byte("nonsense"), &lower)
					}
				}
				if got := lower.lasts(); got != c.want {
					t.Errorf("it is to be shown: %v, want %v", got, c.want)
				}
			})
		})
	}
}
