package node

import (
	"github.com/btcsuite/btcd/chaincfg/chainhash"

	"sightglass/ingester/transcript"
)

// pool is the node's mempool as far as we know it, and the place in its history that we know it at. It has no I/O.
//
// The node numbers every change of its mempool. It tells the number of an addition (A) and of a removal (R); what a
// block takes out takes a number each too, but is not told: the block says it. So numbers that are skipped are either
// lost messages, or a block's whose C is yet to come: the node's removals for conflicts with a block, and the
// additions after a reorganisation, come before the C of the blocks that caused them.
type pool struct {
	entries     map[chainhash.Hash]entry
	missing     int    // pooled and not heard
	size        int    // pooled
	next        uint64 // the number that the next change should have; 0: not known
	unexplained uint64 // numbers before next that no message had
	snapshot    uint32 // counts what replace was asked for, so that it can tell old marks from new ones
}

// mark is what is known of a transaction.
type entry struct {
	pooled   bool   // the node says that it is in the mempool
	received bool   // its body was delivered, or is not wanted
	since    uint32 // the snapshot asked for when it was first marked
}

// mostMarks bounds the pool: a mempool of bitcoind's default 300 MB holds 300,000 transactions at most, and a mark
// takes about 80 bytes.
const maxEntries = 2_000_000

func newPool() pool { return pool{entries: make(map[chainhash.Hash]entry)} }

func (p *pool) set(id chainhash.Hash, m entry) {
	old, known := p.entries[id]
	if !known {
		m.since = p.snapshot
	}
	p.count(old, -1)
	p.count(m, 1)
	p.entries[id] = m
}

func (p *pool) delete(id chainhash.Hash) {
	p.count(p.entries[id], -1)
	delete(p.entries, id)
}

func (p *pool) count(m entry, by int) {
	if m.pooled {
		p.size += by
		if !m.received {
			p.missing += by
		}
	}
}

// hear notes that a transaction's body was delivered.
func (p *pool) markReceived(id chainhash.Hash) {
	m := p.entries[id]
	m.received = true
	p.set(id, m)
}

// lacks reports whether a transaction is in the mempool without its body having been delivered.
func (p *pool) isMissing(id chainhash.Hash) bool {
	m := p.entries[id]
	return m.pooled && !m.received
}

// add takes in an A. It reports false for one of the past, and changes nothing.
func (p *pool) add(id chainhash.Hash, number uint64) bool {
	if !p.advance(number) {
		return false
	}
	m := p.entries[id]
	m.pooled = true
	p.set(id, m)
	return true
}

// remove takes in an R. It reports false for one of the past, and changes nothing.
func (p *pool) remove(id chainhash.Hash, number uint64) bool {
	if !p.advance(number) {
		return false
	}
	p.delete(id)
	return true
}

// advance moves on to the change with a number.
func (p *pool) advance(number uint64) bool {
	if p.next != 0 && number < p.next {
		return false
	}
	if p.next != 0 {
		p.unexplained += number - p.next
	}
	p.next = number + 1
	return true
}

// mine takes out a block's transactions.
func (p *pool) confirm(ids []chainhash.Hash) {
	var taken uint64
	for _, id := range ids {
		if p.entries[id].pooled {
			taken++
		}
		p.delete(id)
	}
	explained := min(taken, p.unexplained)
	p.unexplained -= explained
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
		m := p.entries[id]
		if !m.pooled {
			d.added++
		}
		m.pooled = true
		p.set(id, m)
	}
	for id, m := range p.entries {
		if _, ok := listed[id]; ok {
			continue
		}
		if m.pooled && m.since < p.snapshot {
			d.removed++
		}
		if m.pooled || m.since < p.snapshot { // one heard since may be in the next message's A
			m.pooled = false
			p.set(id, m)
			unlisted = append(unlisted, id)
		}
	}
	p.next, p.unexplained = next, 0
	return unlisted, d
}

// difference is how a list differs from the pool: what only the list has, and what only the pool has and had when the
// list was asked for.
type difference struct{ added, removed uint64 }

// place is where in the mempool's history the pool is.
type position struct{ next, unexplained uint64 }

func (p *pool) position() position { return position{next: p.next, unexplained: p.unexplained} }

// contradicts reports whether a list cannot be of the same life of the node as the place that was known when it was
// asked for. A node counts its mempool's changes from 1 at every start, and its topics' messages too; one that starts
// again while the link is away, with another mempool, may have counted beyond what we know when the link is back. But
// within one life each transaction that came or left took a number: after the place, or among those that were skipped
// before it. The notes are what came since the list was asked for: what they removed is in the list, maybe.
func (k position) contradicts(listed uint64, d difference, notes []change) bool {
	if k.next == 0 {
		return false // nothing is known yet
	}
	numbers := k.unexplained
	if listed >= k.next {
		numbers += listed - k.next
	} else if k.next-listed > maxUnexplained {
		return true
	}
	for _, c := range notes {
		switch c.letter {
		case transcript.Added:
		case transcript.Removed:
			numbers++
		default:
			numbers += uint64(len(c.confirmed))
		}
	}
	return d.removed+d.added > numbers+maxUnexplained
}

// mostUnexplained is how many changes may have no number before a list is taken for that of another life: where the
// chain reorganises while blocks are being asked for, our account of what they took may be wrong by a few. A mempool of
// so few transactions is not missed if it is taken back.
const maxUnexplained = 16

// unhear has the bodies of all that is in the mempool asked for once more.
func (p *pool) markAllMissing() {
	for id, m := range p.entries {
		if m.pooled && m.received {
			m.received = false
			p.set(id, m)
		}
	}
}

// settle forgets those of ids that are still not in the mempool, and returns them.
func (p *pool) removeAbsent(ids []chainhash.Hash) (gone []chainhash.Hash) {
	for _, id := range ids {
		if m, known := p.entries[id]; known && !m.pooled {
			p.delete(id)
			gone = append(gone, id)
		}
	}
	return gone
}

// begin notes that a list is asked for: what is first marked from now on may be too new for it.
func (p *pool) startSnapshot() { p.snapshot++ }

// reset is for a node that began anew and cannot be asked: its mempool is told from the start.
func (p *pool) reset() { *p = newPool() }

// trim forgets what was heard and never pooled, if there is too much of it; without the topic sequence that is all.
func (p *pool) trim() {
	if len(p.entries) < maxEntries {
		return
	}
	for id, m := range p.entries {
		if !m.pooled {
			p.delete(id)
		}
	}
	if len(p.entries) >= maxEntries {
		p.reset()
	}
}
