package node

import "time"

// HandleClockStep does what a tick does after a step of the machine's clock.
func (n *Node) HandleClockStep(step time.Duration) {
	n.completions <- func() { n.handleClockStep(step, time.Now()) }
}
