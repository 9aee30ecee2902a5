package node

import "hash/maphash"

// verdict is what a message's counter says of it.
type verdict uint8

const (
	inOrder   verdict = iota
	gap               // messages before it were lost
	repeated          // it came before
	restarted         // the node began to count anew
)

// recent is how many messages of a topic are remembered to know a repeated one from a node that began anew.
const recent = 64

// counter follows the counter that bitcoind puts on each topic's messages.
type counter struct {
	last    uint32
	started bool
	seen    [recent]fingerprint // by counter, modulo
}

type fingerprint struct {
	counter uint32
	sum     uint64
}

var seed = maphash.MakeSeed()

// check tells how a message follows the ones before it, and how many are missing between.
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
	default: // no topic has so many messages that half of all numbers could be lost
		return restarted, 0
	}
}
