package node

import "github.com/btcsuite/btcd/chaincfg/chainhash"

// pool is the node's mempool as far as we know it, and the place in its history that we know it at. It has no I/O.
//
// The node numbers every change of its mempool. It tells the number of an addition (A) and of a removal (R); what a
// block takes out takes a number each too, but is not told: the block says it. So numbers that are skipped are either
// lost messages, or a block's whose C is yet to come: the node's removals for conflicts with a block, and the
// additions after a reorganisation, come before the C of the blocks that caused them.
type pool struct {
	marks    map[chainhash.Hash]mark
	unheard  int    // pooled and not heard
	size     int    // pooled
	next     uint64 // the number that the next change should have; 0: not known
	skipped  uint64 // numbers before next that no message had
	snapshot uint32 // counts what replace was asked for, so that it can tell old marks from new ones
}

// mark is what is known of a transaction.
type mark struct {
	pooled bool   // the node says that it is in the mempool
	heard  bool   // its body was delivered, or is not wanted
	since  uint32 // the snapshot asked for when it was first marked
}

// mostMarks bounds the pool: a mempool of bitcoind's default 300 MB holds 300,000 transactions at most, and a mark
// takes about 80 bytes.
const mostMarks = 2_000_000

func newPool() pool { return pool{marks: make(map[chainhash.Hash]mark)} }

func (p *pool) set(id chainhash.Hash, m mark) {
	old, known := p.marks[id]
	if !known {
		m.since = p.snapshot
	}
	p.count(old, -1)
	p.count(m, 1)
	p.marks[id] = m
}

func (p *pool) forget(id chainhash.Hash) {
	p.count(p.marks[id], -1)
	delete(p.marks, id)
}

func (p *pool) count(m mark, by int) {
	if m.pooled {
		p.size += by
		if !m.heard {
			p.unheard += by
		}
	}
}

// hear notes that a transaction's body was delivered.
func (p *pool) hear(id chainhash.Hash) {
	m := p.marks[id]
	m.heard = true
	p.set(id, m)
}

// lacks reports whether a transaction is in the mempool without its body having been delivered.
func (p *pool) lacks(id chainhash.Hash) bool {
	m := p.marks[id]
	return m.pooled && !m.heard
}

// add takes in an A. It reports false for one of the past, and changes nothing.
func (p *pool) add(id chainhash.Hash, number uint64) bool {
	if !p.advance(number) {
		return false
	}
	m := p.marks[id]
	m.pooled = true
	p.set(id, m)
	return true
}

// remove takes in an R. It reports false for one of the past, and changes nothing.
func (p *pool) remove(id chainhash.Hash, number uint64) bool {
	if !p.advance(number) {
		return false
	}
	p.forget(id)
	return true
}

// advance moves on to the change with a number.
func (p *pool) advance(number uint64) bool {
	if p.next != 0 && number < p.next {
		return false
	}
	if p.next != 0 {
		p.skipped += number - p.next
	}
	p.next = number + 1
	return true
}

// mine takes out a block's transactions.
func (p *pool) mine(ids []chainhash.Hash) {
	var taken uint64
	for _, id := range ids {
		if p.marks[id].pooled {
			taken++
		}
		p.forget(id)
	}
	explained := min(taken, p.skipped)
	p.skipped -= explained
	if p.next != 0 {
		p.next += taken - explained
	}
}

// replace makes the pool what the node's own list says it was, just before the change with the number next. It gives
// what was in the pool, or was heard as if it were, and is not in the list; and how the list differs from the pool. What
// came after that is then told again, by add, remove and mine, and after that settle gives what is gone.
func (p *pool) replace(ids []chainhash.Hash, next uint64) (unlisted []chainhash.Hash, d difference) {
	listed := make(map[chainhash.Hash]struct{}, len(ids))
	for _, id := range ids {
		listed[id] = struct{}{}
		m := p.marks[id]
		if !m.pooled {
			d.came++
		}
		m.pooled = true
		p.set(id, m)
	}
	for id, m := range p.marks {
		if _, ok := listed[id]; ok {
			continue
		}
		if m.pooled && m.since < p.snapshot {
			d.left++
		}
		if m.pooled || m.since < p.snapshot { // one heard since may be in the next message's A
			m.pooled = false
			p.set(id, m)
			unlisted = append(unlisted, id)
		}
	}
	p.next, p.skipped = next, 0
	return unlisted, d
}

// difference is how a list differs from the pool: what only the list has, and what only the pool has and had when the
// list was asked for.
type difference struct{ came, left uint64 }

// place is where in the mempool's history the pool is.
type place struct{ next, skipped uint64 }

func (p *pool) place() place { return place{next: p.next, skipped: p.skipped} }

// contradicts reports whether a list cannot be of the same life of the node as the place that was known when it was
// asked for. A node counts its mempool's changes from 1 at every start, and its topics' messages too; one that starts
// again while the link is away, with another mempool, may have counted beyond what we know when the link is back. But
// within one life each transaction that came or left took a number: after the place, or among those that were skipped
// before it. The notes are what came since the list was asked for: what they removed is in the list, maybe.
func (k place) contradicts(listed uint64, d difference, notes []change) bool {
	if k.next == 0 {
		return false // nothing is known yet
	}
	numbers := k.skipped
	if listed >= k.next {
		numbers += listed - k.next
	} else if k.next-listed > mostUnexplained {
		return true
	}
	for _, c := range notes {
		switch c.letter {
		case added:
		case removed:
			numbers++
		default:
			numbers += uint64(len(c.mined))
		}
	}
	return d.left+d.came > numbers+mostUnexplained
}

// mostUnexplained is how many changes may have no number before a list is taken for that of another life: where the
// chain reorganises while blocks are being asked for, our account of what they took may be wrong by a few. A mempool of
// so few transactions is not missed if it is taken back.
const mostUnexplained = 16

// unhear has the bodies of all that is in the mempool asked for once more.
func (p *pool) unhear() {
	for id, m := range p.marks {
		if m.pooled && m.heard {
			m.heard = false
			p.set(id, m)
		}
	}
}

// settle forgets those of ids that are still not in the mempool, and returns them.
func (p *pool) settle(ids []chainhash.Hash) (gone []chainhash.Hash) {
	for _, id := range ids {
		if m, known := p.marks[id]; known && !m.pooled {
			p.forget(id)
			gone = append(gone, id)
		}
	}
	return gone
}

// begin notes that a list is asked for: what is first marked from now on may be too new for it.
func (p *pool) begin() { p.snapshot++ }

// reset is for a node that began anew and cannot be asked: its mempool is told from the start.
func (p *pool) reset() { *p = newPool() }

// trim forgets what was heard and never pooled, if there is too much of it; without the topic sequence that is all.
func (p *pool) trim() {
	if len(p.marks) < mostMarks {
		return
	}
	for id, m := range p.marks {
		if !m.pooled {
			p.forget(id)
		}
	}
	if len(p.marks) >= mostMarks {
		p.reset()
	}
}
