package replay

import (
	"errors"
	"fmt"
	"maps"

	"github.com/btcsuite/btcd/chaincfg/chainhash"
)

// A pool is the mempool according to the notifications.
//
// Each change takes the next number. Additions and removals report theirs. What a block removes takes numbers that no
// notification reports, all of them before the block's own notification. If other changes at the same moment report
// later numbers, the unreported ones appear as a gap.
type pool struct {
	ids        map[chainhash.Hash]float64 // the unconfirmed transactions, and the T at which each came
	next       uint64                     // the number of the next change
	unreported uint64                     // numbers taken without a notification, by a block that is still to come
	known      bool                       // no notification was lost since ids was complete
	log        []change                   // the changes of this run of the node, in order
	ahead      []checkpoint               // responses of the node that precede its notifications
	agreed     int                        // the checkpoints that were equal
}

// A change is one addition or removal. The transactions that a block removes all have the number of the last one.
type change struct {
	number uint64
	id     chainhash.Hash
	added  bool
}

// A checkpoint is the node's own response to getrawmempool.
type checkpoint struct {
	t    float64
	next uint64 // its mempool_sequence
	ids  map[chainhash.Hash]float64
}

// ErrDisagree is wrapped by an error about a mempool that differs from the node's own list.
var ErrDisagree = errors.New("the recording differs from its own getrawmempool")

// restart empties the mempool, as of a node that has just started.
func (p *pool) restart() {
	*p = pool{ids: make(map[chainhash.Hash]float64), next: 1, known: true, agreed: p.agreed}
}

// lost is called when notifications are missing from the recording. The state is then unknown until the next
// checkpoint, or set from the last one.
func (p *pool) lost() {
	p.known, p.unreported = false, 0
	if last := len(p.ahead) - 1; last >= 0 {
		p.adopt(p.ahead[last])
	}
}

// change adds or removes one transaction at time t.
func (p *pool) change(c change, t float64) {
	switch {
	case !p.known:
	case c.number < p.next:
		return // the node had responded to getrawmempool before it published this
	default:
		p.unreported += c.number - p.next
	}
	p.next = c.number + 1
	p.apply(c, t)
}

func (p *pool) apply(c change, t float64) {
	p.log = append(p.log, c)
	if c.added {
		p.ids[c.id] = t
	} else {
		delete(p.ids, c.id)
	}
}

// block removes the transactions of a block that connects.
func (p *pool) block(txids []chainhash.Hash) {
	var gone []chainhash.Hash
	for _, id := range txids {
		if _, ok := p.ids[id]; ok {
			gone = append(gone, id)
		}
	}
	if p.known { // otherwise the gaps, and so the count, are unknown
		shown := min(p.unreported, uint64(len(gone)))
		p.unreported -= shown
		p.next += uint64(len(gone)) - shown
	}
	for _, id := range gone {
		p.apply(change{number: p.next - 1, id: id}, 0)
	}
}

// endStep is called when all blocks of the moment have been published.
func (p *pool) endStep() {
	if p.unreported > 0 {
		p.lost()
	}
}

// midStep reports whether blocks that have already changed the mempool are still to come.
func (p *pool) midStep() bool { return p.known && p.unreported > 0 }

// check compares c with the state, or adopts it if the state is unknown. A node's responses may precede its
// notifications, and the other way round.
func (p *pool) check(c checkpoint) error {
	if !p.known {
		p.adopt(c)
		return nil
	}
	p.ahead = append(p.ahead, c)
	return p.settle()
}

// settle compares the waiting checkpoints that the notifications have reached.
func (p *pool) settle() error {
	var err error
	for p.known && p.unreported == 0 && len(p.ahead) > 0 && p.ahead[0].next <= p.next {
		c := p.ahead[0]
		p.ahead = p.ahead[1:]
		err = errors.Join(err, p.compare(c))
	}
	return err
}

// compare undoes what came after c, and returns the difference. After a difference the node's list becomes the state.
func (p *pool) compare(c checkpoint) error {
	ids := maps.Clone(p.ids)
	undone := 0
	for ; undone < len(p.log); undone++ {
		last := p.log[len(p.log)-1-undone]
		if last.number < c.next {
			break
		}
		if last.added {
			delete(ids, last.id)
		} else {
			ids[last.id] = 0
		}
	}
	missing, surplus := countMissing(c.ids, ids), countMissing(ids, c.ids)
	if missing+surplus == 0 && uint64(undone) == p.next-c.next {
		p.agreed++
		return nil
	}
	simulated := p.next - uint64(undone)
	p.adopt(c)
	return fmt.Errorf("%w at t=%g: of %d transactions %d are missing and %d are surplus; the next number is %d, want %d",
		ErrDisagree, c.t, len(c.ids), missing, surplus, simulated, c.next)
}

// countMissing counts what is in a but not in b.
func countMissing(a, b map[chainhash.Hash]float64) int {
	n := 0
	for id := range a {
		if _, ok := b[id]; !ok {
			n++
		}
	}
	return n
}

// adopt makes the node's list the state, and applies later published changes to it.
func (p *pool) adopt(c checkpoint) {
	log, before := p.log, p.ids
	p.ids, p.log = maps.Clone(c.ids), nil
	p.ahead, p.unreported, p.known = nil, 0, true
	p.next = max(p.next, c.next)
	for id := range p.ids {
		if t, ok := before[id]; ok {
			p.ids[id] = t
		}
	}
	for _, l := range log {
		if l.number >= c.next {
			p.apply(l, before[l.id])
		}
	}
}
