package node

import "hash/maphash"

// verdict is how a message follows the ones before it.
type verdict uint8

const (
	inOrder   verdict = iota
	gap               // messages before it were lost
	repeated          // it came before
	restarted         // the node restarted its counter
)

// recent is how many messages of a topic are remembered, to distinguish a repeated one from one of a restarted node.
const recent = 64

// counter tracks the counter that bitcoind puts on each topic's messages.
type counter struct {
	last    uint32
	started bool
	seen    [recent]fingerprint // by counter modulo recent
}

type fingerprint struct {
	counter uint32
	sum     uint64
}

var seed = maphash.MakeSeed()

// check classifies a message by its counter, and returns how many messages are missing before it.
func (c *counter) check(number uint32, body []byte) (v verdict, missing uint32) {
	print := fingerprint{counter: number, sum: maphash.Bytes(seed, body)}
	slot := &c.seen[number%recent]
	if c.started && *slot == print {
		return repeated, 0
	}
	*slot = print
	ahead, begun := number-c.last-1, c.started // the counter wraps, and so does the difference
	c.last, c.started = number, true
	switch {
	case !begun || ahead == 0:
		return inOrder, 0
	case ahead < 1<<31:
		return gap, ahead
	default: // half of all numbers cannot be lost at once
		return restarted, 0
	}
}
