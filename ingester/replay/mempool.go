package replay

import (
	"errors"
	"fmt"
	"maps"

	"github.com/btcsuite/btcd/chaincfg/chainhash"
)

// A pool is the mempool as the notifications tell of it.
//
// Each change takes the next number. Additions and removals tell theirs; what a block takes out of the mempool takes
// its numbers in silence, all of them before the block's own notification comes. Where other changes of the same
// moment tell numbers beyond those, the silent ones show as a gap.
type pool struct {
	ids        map[chainhash.Hash]float64 // the unconfirmed transactions, and the T of when each came
	next       uint64                     // the number that the next change takes
	unreported uint64                     // numbers taken in silence, whose block is still to come
	known      bool                       // nothing was lost since ids was known as a whole
	log        []change                   // of this life, in order; what undoes it
	ahead      []checkpoint               // what the node answered already, but has yet to publish
	agreed     int                        // the checkpoints that held
}

// A change is one addition or removal. The transactions that a block removed all carry the number of the last.
type change struct {
	number uint64
	id     chainhash.Hash
	added  bool
}

// A checkpoint is what the node itself answered to getrawmempool.
type checkpoint struct {
	t    float64
	next uint64 // its mempool_sequence
	ids  map[chainhash.Hash]float64
}

// ErrDisagree is wrapped by an error about a mempool that is not what the node itself said it was.
var ErrDisagree = errors.New("the recording and its own getrawmempool disagree")

// restart empties the mempool, as of a node that has just started.
func (p *pool) restart() {
	*p = pool{ids: make(map[chainhash.Hash]float64), next: 1, known: true, agreed: p.agreed}
}

// lost says that notifications are missing from the recording. What is known then is known no more, until the node is
// asked, or has been.
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
		return // the node had answered getrawmempool before it published this
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
	if p.known { // otherwise the gaps are unknown, and with them the count
		shown := min(p.unreported, uint64(len(gone)))
		p.unreported -= shown
		p.next += uint64(len(gone)) - shown
	}
	for _, id := range gone {
		p.apply(change{number: p.next - 1, id: id}, 0)
	}
}

// stepOver says that all blocks of the moment have been published.
func (p *pool) endStep() {
	if p.unreported > 0 {
		p.lost()
	}
}

// midStep says whether blocks are still to come that have changed the mempool already.
func (p *pool) midStep() bool { return p.known && p.unreported > 0 }

// check compares c, or adopts it where nothing is known to compare with. A node's answers may run ahead of what it
// publishes, and the other way round.
func (p *pool) check(c checkpoint) error {
	if !p.known {
		p.adopt(c)
		return nil
	}
	p.ahead = append(p.ahead, c)
	return p.settle()
}

// settle compares what was answered with what has been published by now.
func (p *pool) settle() error {
	var err error
	for p.known && p.unreported == 0 && len(p.ahead) > 0 && p.ahead[0].next <= p.next {
		c := p.ahead[0]
		p.ahead = p.ahead[1:]
		err = errors.Join(err, p.compare(c))
	}
	return err
}

// compare undoes what came after c, and says what is different. After a difference the node's word holds.
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
	return fmt.Errorf("%w at t=%g: of %d transactions %d are missing and %d too many; the next number is %d, not %d",
		ErrDisagree, c.t, len(c.ids), missing, surplus, simulated, c.next)
}

// without counts what is in a but not in b.
func countMissing(a, b map[chainhash.Hash]float64) int {
	n := 0
	for id := range a {
		if _, ok := b[id]; !ok {
			n++
		}
	}
	return n
}

// adopt takes the node's word for the mempool, and carries out again what was published of later changes.
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
