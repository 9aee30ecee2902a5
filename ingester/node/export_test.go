package node

import "time"

// ClockWasSet does what a tick does that finds the machine's clock set.
func (n *Node) ClockWasSet(step time.Duration) {
	n.answers <- func() { n.clockWasSet(step, time.Now()) }
}
