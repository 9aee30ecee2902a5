package node

import "time"

// clockTolerance is the largest clock step that is ignored. NTP slews up to half a second; an error of a minute moves
// no transaction by more than the engine's own time step.
const clockTolerance = time.Minute

// clockStep returns how far the clock was set between two readings: the time by the wall clock minus the time by the
// monotonic clock. Steps below clockTolerance count as 0.
func clockStep(shown, passed time.Duration) time.Duration {
	if step := shown - passed; step.Abs() >= clockTolerance {
		return step
	}
	return 0
}

// checkClock detects that the machine's clock was set.
func (t *tracker) checkClock(now time.Time) {
	before := t.lastTick
	t.lastTick = now
	if before.IsZero() {
		return
	}
	if step := clockStep(now.Round(0).Sub(before.Round(0)), now.Sub(before)); step != 0 { // Round strips the monotonic reading
		t.handleClockStep(step, now)
	}
}

// handleClockStep fetches the mempool and the blocks of the window again: by the wrong clock they had another age.
func (t *tracker) handleClockStep(step time.Duration, now time.Time) {
	t.log.Warn("this machine's clock was set: fetching the node's mempool and blocks again", "by", step.Round(time.Second))
	clear(t.chain.processed)
	t.pool.markAllMissing()
	t.chain.walk = nil
	t.resync(whyClock, now)
}
