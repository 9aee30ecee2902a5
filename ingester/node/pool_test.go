package node

import (
	"slices"
	"testing"

	"github.com/btcsuite/btcd/chaincfg/chainhash"

	"sightglass/ingester/transcript"
)

func id(n byte) chainhash.Hash { return chainhash.Hash{n} }

func ids(ns ...byte) (out []chainhash.Hash) {
	for _, n := range ns {
		out = append(out, id(n))
	}
	return out
}

// pooled lists what is in the pool, in order.
func (p *pool) pooled() (ns []byte) {
	for id, m := range p.entries {
		if m.pooled {
			ns = append(ns, id[0])
		}
	}
	slices.Sort(ns)
	return ns
}

// check compares the pool with what it should hold, and its counts with what it does hold.
func check(t *testing.T, p *pool, want []byte, next, skipped uint64) {
	t.Helper()
	if got := p.pooled(); !slices.Equal(got, want) {
		t.Errorf("%v in the mempool, want %v", got, want)
	}
	if p.next != next || p.unexplained != skipped {
		t.Errorf("next %d, skipped %d; want %d, %d", p.next, p.unexplained, next, skipped)
	}
	unheard := 0
	for _, m := range p.entries {
		if m.pooled && !m.received {
			unheard++
		}
	}
	if p.size != len(p.pooled()) || p.missing != unheard {
		t.Errorf("counted %d and %d unheard, but there are %d and %d", p.size, p.missing, len(p.pooled()), unheard)
	}
}

func TestPool_AppliesChangesInOrder(t *testing.T) {
	p := newPool()
	p.replace(nil, 1)
	p.add(id(1), 1)
	p.add(id(2), 2)
	p.remove(id(1), 3)
	check(t, &p, []byte{2}, 4, 0)
	if p.add(id(9), 3) || p.remove(id(2), 1) {
		t.Error("took in changes of the past")
	}
	check(t, &p, []byte{2}, 4, 0)
}

// TestPool_BlockExplainsNumbers: a block's transactions take numbers that no message has; the removals for conflicts with
// it show them before the block comes (the r_gap of bitcoind's own tests).
func TestPool_BlockExplainsNumbers(t *testing.T) {
	for name, c := range map[string]struct {
		before, after uint64 // numbers of an R before the block, and of an A after it
		skipped       uint64 // between
	}{
		"all after the removal":  {5, 8, 0},
		"one before the removal": {6, 8, 1},
		"all before the removal": {7, 8, 2},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPool()
			p.replace(ids(1, 2, 3, 4), 5)
			p.remove(id(4), c.before)
			check(t, &p, []byte{1, 2, 3}, c.before+1, c.skipped)
			p.confirm(ids(1, 2, 77))
			check(t, &p, []byte{3}, 8, 0)
			p.add(id(5), c.after)
			check(t, &p, []byte{3, 5}, 9, 0)
		})
	}
}

func TestPool_CountsUnexplainedNumbers(t *testing.T) {
	p := newPool()
	p.replace(ids(1, 2, 3), 4)
	p.add(id(5), 5)
	check(t, &p, []byte{1, 2, 3, 5}, 6, 1)
	p.confirm(ids(77))
	check(t, &p, []byte{1, 2, 3, 5}, 6, 1)
}

func TestPool_ReplaceReturnsUnlisted(t *testing.T) {
	p := newPool()
	p.replace(ids(1, 2, 3), 4)
	p.markReceived(id(1))
	p.markReceived(id(8)) // its A was lost
	p.startSnapshot()
	p.markReceived(id(9)) // came after the list was asked for
	p.add(id(6), 4)
	unlisted, _ := p.replace(ids(1, 4), 4)
	p.apply([]change{{letter: transcript.Added, id: id(6), number: 4}})
	gone := p.removeAbsent(unlisted)
	slices.SortFunc(gone, func(a, b chainhash.Hash) int { return int(a[0]) - int(b[0]) })
	if !slices.Equal(gone, ids(2, 3, 8)) {
		t.Errorf("%v vanished, want 2, 3 and 8", gone)
	}
	check(t, &p, []byte{1, 4, 6}, 5, 0)
	if p.isMissing(id(1)) || !p.isMissing(id(4)) || !p.isMissing(id(6)) {
		t.Error("lost what was heard")
	}
	if _, known := p.entries[id(8)]; known {
		t.Error("keeps what is in no mempool")
	}
	if _, known := p.entries[id(9)]; !known {
		t.Error("forgot what is too new for the list")
	}
}

// TestNewerThan: changes that came while the list was on its way are told again only if it does not have them.
func TestNewerThan(t *testing.T) {
	block := change{letter: transcript.Connected, confirmed: ids(1)}
	a := func(number uint64) change { return change{letter: transcript.Added, number: number} }
	for name, c := range map[string]struct {
		notes []change
		next  uint64
		want  int // notes left
	}{
		"none":                            {nil, 5, 0},
		"all older":                       {[]change{a(3), a(4)}, 5, 0},
		"all newer":                       {[]change{a(5), a(6)}, 5, 2},
		"some":                            {[]change{a(4), a(5)}, 5, 1},
		"a block that may be newer":       {[]change{a(4), block, a(5)}, 5, 2},
		"a block, older":                  {[]change{block, a(4), a(5)}, 5, 1},
		"a block alone":                   {[]change{block}, 5, 1},
		"an addition after the last ones": {[]change{a(2), block, a(3), block}, 4, 1},
	} {
		t.Run(name, func(t *testing.T) {
			if got := newerThan(c.notes, c.next); len(got) != c.want {
				t.Errorf("%d left, want %d", len(got), c.want)
			}
		})
	}
}

func TestPool_IsBounded(t *testing.T) {
	p := newPool()
	for i := range maxEntries {
		p.markReceived(chainhash.Hash{byte(i), byte(i >> 8), byte(i >> 16), 1})
	}
	p.add(id(1), 1)
	p.trim()
	check(t, &p, []byte{1}, 2, 0)
	if len(p.entries) != 1 {
		t.Errorf("%d marks are left", len(p.entries))
	}
}
