package node

import "time"

// clockTolerance is how far the clock may be set without notice. NTP moves it slowly up to half a second; a minute moves
// no transaction by more than the engine's own step.
const clockTolerance = time.Minute

// clockStep tells how far the clock was set between two moments: the time that it shows to have passed, less the time
// that did pass.
func clockStep(shown, passed time.Duration) time.Duration {
	if step := shown - passed; step.Abs() >= clockTolerance {
		return step
	}
	return 0
}

// watchClock notices that the machine's clock was set.
func (n *Node) checkClock(now time.Time) {
	before := n.lastTick
	n.lastTick = now
	if before.IsZero() {
		return
	}
	if step := clockStep(now.Round(0).Sub(before.Round(0)), now.Sub(before)); step != 0 { // Round takes the monotonic time away
		n.handleClockStep(step, now)
	}
}

// clockWasSet asks for all that is of use once more: by the wrong clock it was too old, or of another time.
func (n *Node) handleClockStep(step time.Duration, now time.Time) {
	n.log.Warn("this machine's clock was set: asking the node for its mempool and blocks again", "by", step.Round(time.Second))
	clear(n.chain.processed)
	n.pool.markAllMissing()
	n.chain.walk = walk{}
	n.resync(whyClock, now)
}
