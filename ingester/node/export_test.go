package node

import "time"

// ClockWasSet does what a tick does that finds the machine's clock set.
func (n *Node) HandleClockStep(step time.Duration) {
	n.completions <- func() { n.handleClockStep(step, time.Now()) }
}
