package node

import (
	"github.com/btcsuite/btcd/chaincfg/chainhash"

	"sightglass/ingester/transcript"
)

// pool is our view of the node's mempool, and the position in the mempool's history that it is of. It has no I/O.
//
// The node numbers every change of its mempool. Messages carry the numbers of additions (A) and removals (R). Removals
// by a block are numbered too, but only the block's message reports them. So unexplained numbers are either lost
// messages, or of a block whose C is still to come: the removals for conflicts with a block, and the additions after a
// reorganisation, precede the C of the blocks that caused them.
type pool struct {
	entries     map[chainhash.Hash]entry
	missing     int    // in the mempool, body not received
	size        int    // in the mempool
	next        uint64 // the number of the next change; 0: unknown
	unexplained uint64 // numbers before next that no message had
	snapshot    uint32 // counts the lists that were requested, to distinguish older entries from newer ones
}

// entry is the state of a known transaction.
type entry struct {
	pooled   bool   // the node says that it is in the mempool
	received bool   // its body was delivered, or is not needed
	since    uint32 // the snapshot during which it was first known
}

// maxEntries bounds the pool. A mempool of bitcoind's default 300 MB holds at most 300,000 transactions; an entry uses
// about 80 bytes.
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

// markReceived records that a transaction's body was delivered.
func (p *pool) markReceived(id chainhash.Hash) {
	m := p.entries[id]
	m.received = true
	p.set(id, m)
}

// isMissing reports whether a transaction is in the mempool and its body was not delivered.
func (p *pool) isMissing(id chainhash.Hash) bool {
	m := p.entries[id]
	return m.pooled && !m.received
}

// add applies an A. For an outdated one it returns false and changes nothing.
func (p *pool) add(id chainhash.Hash, number uint64) bool {
	if !p.advance(number) {
		return false
	}
	m := p.entries[id]
	m.pooled = true
	p.set(id, m)
	return true
}

// remove applies an R. For an outdated one it returns false and changes nothing.
func (p *pool) remove(id chainhash.Hash, number uint64) bool {
	if !p.advance(number) {
		return false
	}
	p.delete(id)
	return true
}

// advance moves to the change with the given number. It returns false for an outdated one.
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

// confirm removes a block's transactions.
func (p *pool) confirm(ids []chainhash.Hash) {
	var pooled uint64
	for _, id := range ids {
		if p.entries[id].pooled {
			pooled++
		}
		p.delete(id)
	}
	explained := min(pooled, p.unexplained)
	p.unexplained -= explained
	if p.next != 0 {
		p.next += pooled - explained
	}
}

// replace sets the pool to the node's list, which precedes the change with the number next. It returns what was in the
// pool, or was received as if it were, and is not in the list, and how the list differs from the pool. The caller then
// applies later changes again with add, remove and confirm, and calls removeAbsent with unlisted.
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
		if m.pooled || m.since < p.snapshot { // | m.since < p.snapshot {|the A of one received since may be the next message
			m.pooled = false
			p.set(id, m)
			unlisted = append(unlisted, id)
		}
	}
	p.next, p.unexplained = next, 0
	return unlisted, d
}

// difference is how a list differs from the pool: transactions that only the list has, and transactions that only the
// pool has and had when the list was requested.
type difference struct{ added, removed uint64 }

// position is where in the mempool's history the pool is.
type position struct{ next, unexplained uint64 }

func (p *pool) position() position { return position{next: p.next, unexplained: p.unexplained} }

// contradicts reports whether a list must be of another run of the node than the position k, at which the pool was when
// the list was requested. A node counts its mempool's changes and its topics' messages from 1 at every start. If it
// restarts with another mempool while the connection is down, both counters may have passed ours when the connection is
// back. But within one run each transaction that entered or left took a number: after the position, or among the
// unexplained ones before it. The changes are those received since the request: the list may still contain what they
// removed.
func (k position) contradicts(listed uint64, d difference, changes []change) bool {
	if k.next == 0 {
		return false // nothing is known yet
	}
	numbers := k.unexplained
	if listed >= k.next {
		numbers += listed - k.next
	} else if k.next-listed > maxUnexplained {
		return true
	}
	for _, c := range changes {
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

// maxUnexplained is how many differences may have no number before a list counts as one of another run: during a
// reorganisation, while blocks are being fetched, our count of the numbers they took may be off by a few. Losing a
// mempool of so few transactions does no harm.
const maxUnexplained = 16

// markAllMissing marks every body in the mempool as missing, so that it is fetched again.
func (p *pool) markAllMissing() {
	for id, m := range p.entries {
		if m.pooled && m.received {
			m.received = false
			p.set(id, m)
		}
	}
}

// removeAbsent deletes those of ids that are not in the mempool, and returns them.
func (p *pool) removeAbsent(ids []chainhash.Hash) (removed []chainhash.Hash) {
	for _, id := range ids {
		if m, known := p.entries[id]; known && !m.pooled {
			p.delete(id)
			removed = append(removed, id)
		}
	}
	return removed
}

// startSnapshot is called when a list is requested: entries that are new from now on may be too new for it.
func (p *pool) startSnapshot() { p.snapshot++ }

// reset empties the pool for a restarted node without RPC: the node publishes its mempool from the start.
func (p *pool) reset() { *p = newPool() }

// trim deletes entries that were received and never in the mempool, if there are too many. Without the topic sequence
// all entries are of that kind.
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
