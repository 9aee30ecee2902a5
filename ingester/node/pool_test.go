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

// pooled returns what is in the mempool, sorted.
func (p *pool) pooled() (ns []byte) {
	for id, m := range p.entries {
		if m.pooled {
			ns = append(ns, id[0])
		}
	}
	slices.Sort(ns)
	return ns
}

// check compares the pool with the wanted content, and its counts with its actual content.
func check(t *testing.T, p *pool, want []byte, next, unexplained uint64) {
	t.Helper()
	if got := p.pooled(); !slices.Equal(got, want) {
		t.Errorf("got %v in the mempool, want %v", got, want)
	}
	if p.next != next || p.unexplained != unexplained {
		t.Errorf("got next %d, unexplained %d; want %d, %d", p.next, p.unexplained, next, unexplained)
	}
	missing := 0
	for _, m := range p.entries {
		if m.pooled && !m.received {
			missing++
		}
	}
	if p.size != len(p.pooled()) || p.missing != missing {
		t.Errorf("got counts of %d and %d missing, want %d and %d", p.size, p.missing, len(p.pooled()), missing)
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
		t.Error("got outdated changes applied, want none")
	}
	check(t, &p, []byte{2}, 4, 0)
}

// TestPool_BlockExplainsNumbers: a block's transactions have numbers that no message has; the removals for conflicts
// with the block show them before the block comes (the r_gap of bitcoind's own tests).
func TestPool_BlockExplainsNumbers(t *testing.T) {
	for name, c := range map[string]struct {
		before, after uint64 // numbers of an R before the block, and of an A after it
		unexplained   uint64 // between
	}{
		"all after the removal":  {5, 8, 0},
		"one before the removal": {6, 8, 1},
		"all before the removal": {7, 8, 2},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPool()
			p.replace(ids(1, 2, 3, 4), 5)
			p.remove(id(4), c.before)
			check(t, &p, []byte{1, 2, 3}, c.before+1, c.unexplained)
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
	p.markReceived(id(9)) // received after the list was requested
	p.add(id(6), 4)
	unlisted, _ := p.replace(ids(1, 4), 4)
	p.apply([]change{{letter: transcript.Added, id: id(6), number: 4}})
	removed := p.removeAbsent(unlisted)
	slices.SortFunc(removed, func(a, b chainhash.Hash) int { return int(a[0]) - int(b[0]) })
	if !slices.Equal(removed, ids(2, 3, 8)) {
		t.Errorf("got %v removed, want 2, 3 and 8", removed)
	}
	check(t, &p, []byte{1, 4, 6}, 5, 0)
	if p.isMissing(id(1)) || !p.isMissing(id(4)) || !p.isMissing(id(6)) {
		t.Error("got 1 as missing or 4 or 6 as received, want the opposite")
	}
	if _, known := p.entries[id(8)]; known {
		t.Error("got an entry for 8, want none")
	}
	if _, known := p.entries[id(9)]; !known {
		t.Error("got no entry for 9, want one, as it is newer than the list")
	}
}

// TestNewerThan_DropsListedChanges: changes received during the request are applied again only if the list does not
// include them.
func TestNewerThan_DropsListedChanges(t *testing.T) {
	block := change{letter: transcript.Connected, confirmed: ids(1)}
	a := func(number uint64) change { return change{letter: transcript.Added, number: number} }
	for name, c := range map[string]struct {
		changes []change
		next    uint64
		want    int // changes left
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
			if got := newerThan(c.changes, c.next); len(got) != c.want {
				t.Errorf("got %d changes, want %d", len(got), c.want)
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
		t.Errorf("got %d entries, want 1", len(p.entries))
	}
}
