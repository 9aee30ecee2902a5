package peers

import (
	"compress/gzip"
	"errors"
	"math/big"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/btcsuite/btcd/blockchain"
	"github.com/btcsuite/btcd/chaincfg"
	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/btcsuite/btcd/wire"

	"sightglass/ingester/testblock"
)

// realHeaders returns the headers of five consecutive blocks of mainnet.
func realHeaders(t *testing.T) (headers []*wire.BlockHeader) {
	t.Helper()
	for _, height := range []string{"799990", "799991", "799992", "799993", "799994"} {
		file, err := os.Open(testblock.Data(t, "blocks/"+height+".raw.gz"))
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		raw, err := gzip.NewReader(file)
		if err != nil {
			t.Fatal(err)
		}
		h := new(wire.BlockHeader)
		if err := h.Deserialize(raw); err != nil {
			t.Fatal(err)
		}
		headers = append(headers, h)
	}
	return headers
}

// at returns a header as an anchor.
func at(height int32, h *wire.BlockHeader) anchor {
	return anchor{height: height, hash: h.BlockHash(), bits: h.Bits, time: h.Timestamp}
}

func TestChain_RealHeaders(t *testing.T) {
	headers := realHeaders(t)
	c := newChain(&chaincfg.MainNetParams, at(799990, headers[0]))
	if added, err := c.add(headers); len(added) != 4 || err != nil || c.tip.height != 799994 || c.tip.hash != headers[4].BlockHash() {
		t.Errorf("got %d new headers, %v, tip %d; want 4 up to 799994", len(added), err, c.tip.height)
	}
	for name, change := range map[string]func(h *wire.BlockHeader){
		"no work":    func(h *wire.BlockHeader) { h.Nonce++ },
		"other bits": func(h *wire.BlockHeader) { h.Bits = chaincfg.MainNetParams.PowLimitBits },
		"future":     func(h *wire.BlockHeader) { h.Timestamp = time.Now().Add(3 * time.Hour).Truncate(time.Second) },
	} {
		c := newChain(&chaincfg.MainNetParams, at(799990, headers[0]))
		changed := *headers[1]
		change(&changed)
		if _, err := c.add([]*wire.BlockHeader{&changed}); !errors.Is(err, errHeader) || len(c.headers) != 1 {
			t.Errorf("%s: got %v, %d headers; want it rejected", name, err, len(c.headers))
		}
	}
	if _, err := newChain(&chaincfg.MainNetParams, at(799990, headers[0])).add(headers[2:]); !errors.Is(err, errUnlinked) {
		t.Errorf("got %v for a gap, want %v", err, errUnlinked)
	}
}

// easy are parameters with nearly no work, a period of ten blocks, and mainnet's rules.
func easy() *chaincfg.Params {
	p := chaincfg.RegressionNetParams
	p.PoWNoRetargeting, p.ReduceMinDifficulty = false, false
	p.TargetTimespan, p.TargetTimePerBlock = 100*time.Minute, 10*time.Minute
	return &p
}

// extend mines n headers above one, ten minutes apart, with the difficulty that the chain wants.
func extend(t *testing.T, c *chain, above *header, n int, every time.Duration) (headers []*wire.BlockHeader) {
	t.Helper()
	shadow := newChain(c.params, anchor{})
	shadow.headers, shadow.tip = map[chainhash.Hash]*header{above.hash: above}, above
	for range n {
		parent := shadow.tip
		wired := &wire.BlockHeader{Version: 4, PrevBlock: parent.hash, Timestamp: parent.time.Add(every), Bits: parent.bits}
		wired.MerkleRoot[0] = byte(every / time.Second) // branches differ
		if (parent.height+1)%c.BlocksPerRetarget() == 0 && !c.params.PoWNoRetargeting {
			first := parent.RelativeAncestorCtx(c.BlocksPerRetarget() - 1)
			took := min(max(parent.Timestamp()-first.Timestamp(), c.MinRetargetTimespan()), c.MaxRetargetTimespan())
			target := new(big.Int).Mul(blockchain.CompactToBig(parent.bits), big.NewInt(took))
			target.Div(target, big.NewInt(int64(c.params.TargetTimespan/time.Second)))
			if target.Cmp(c.params.PowLimit) > 0 {
				target = c.params.PowLimit
			}
			wired.Bits = blockchain.BigToCompact(target)
		}
		for blockchain.HashToBig(hashOf(wired)).Cmp(blockchain.CompactToBig(wired.Bits)) > 0 {
			wired.Nonce++
		}
		headers = append(headers, wired)
		if _, err := shadow.add([]*wire.BlockHeader{wired}); err != nil {
			t.Fatal(err)
		}
	}
	return headers
}

func hashOf(h *wire.BlockHeader) *chainhash.Hash {
	hash := h.BlockHash()
	return &hash
}

func TestChain_MostWorkWins(t *testing.T) {
	c := newChain(easy(), anchorOf(easy()))
	genesis := c.tip
	slow := extend(t, c, genesis, 12, 10*time.Minute)
	if _, err := c.add(slow); err != nil {
		t.Fatal(err)
	}
	tenth := c.tip.parent.parent
	longer := extend(t, c, tenth, 3, 11*time.Minute)
	if _, err := c.add(longer[:2]); err != nil || c.tip.hash != *hashOf(slow[11]) {
		t.Fatalf("got %v, tip %v; want the first of two equal branches", err, c.tip.hash)
	}
	old := c.tip
	if _, err := c.add(longer[2:]); err != nil || c.tip.hash != *hashOf(longer[2]) {
		t.Fatalf("got %v, tip %v; want the longer branch", err, c.tip.hash)
	}
	if c.contains(old) || !c.contains(tenth) || !c.contains(c.tip) {
		t.Error("got the left branch, or not the common one, in the chain")
	}
	var times []time.Time
	for _, h := range c.since(tenth.time) {
		times = append(times, h.time)
	}
	if len(times) != 4 || !slices.IsSortedFunc(times, func(a, b time.Time) int { return b.Compare(a) }) {
		t.Errorf("got headers of %v, want the tenth and three more, newest first", times)
	}
}

func TestChain_DifficultyIsChecked(t *testing.T) {
	c := newChain(easy(), anchorOf(easy()))
	headers := extend(t, c, c.tip, 25, time.Minute) // ten times too fast: the difficulty rises at heights 10 and 20
	if _, err := c.add(headers); err != nil || c.tip.height != 25 {
		t.Fatalf("got %v, height %d, want 25 headers", err, c.tip.height)
	}
	if c.tip.bits == c.params.PowLimitBits {
		t.Fatal("got the lowest difficulty, want the test to raise it")
	}
	c = newChain(easy(), anchorOf(easy()))
	kept := *headers[9]
	kept.Bits = headers[8].Bits
	for blockchain.HashToBig(hashOf(&kept)).Cmp(blockchain.CompactToBig(kept.Bits)) > 0 {
		kept.Nonce++
	}
	if _, err := c.add(append(headers[:9:9], &kept)); !errors.Is(err, errHeader) || !strings.Contains(err.Error(), "difficulty") {
		t.Errorf("got %v, want an error about the difficulty", err)
	}
}

// TestChain_FirstPeriodAboveAnchor: the difficulty after an anchor in the middle of a period is checked by its bound only.
func TestChain_FirstPeriodAboveAnchor(t *testing.T) {
	whole := newChain(easy(), anchorOf(easy()))
	headers := extend(t, whole, whole.tip, 35, time.Minute)
	c := newChain(easy(), at(5, headers[4]))
	if added, err := c.add(headers[5:]); err != nil || len(added) != 30 {
		t.Errorf("got %d headers, %v; want all 30 above the anchor", len(added), err)
	}
	c = newChain(easy(), at(29, headers[28]))
	next := wire.BlockHeader{Version: 4, PrevBlock: headers[28].BlockHash(), Timestamp: headers[28].Timestamp.Add(time.Minute),
		Bits: blockchain.BigToCompact(new(big.Int).Mul(blockchain.CompactToBig(headers[28].Bits), big.NewInt(5)))}
	if blockchain.CompactToBig(next.Bits).Cmp(c.params.PowLimit) > 0 {
		t.Fatal("got bits above the limit, want a test of the fourfold bound")
	}
	for blockchain.HashToBig(hashOf(&next)).Cmp(blockchain.CompactToBig(next.Bits)) > 0 {
		next.Nonce++
	}
	if _, err := c.add([]*wire.BlockHeader{&next}); !errors.Is(err, errHeader) || !strings.Contains(err.Error(), "times easier") {
		t.Errorf("got %v, want a difficulty that falls too much to be rejected", err)
	}
}

func TestChain_IsBounded(t *testing.T) {
	p := easy()
	p.PoWNoRetargeting = true
	c := newChain(p, anchorOf(p))
	for range 6 {
		if _, err := c.add(extend(t, c, c.tip, 2000, 10*time.Minute)); err != nil {
			t.Fatal(err)
		}
	}
	if c.tip.height != 12_000 || len(c.headers) > keptHeaders+wire.MaxBlockHeadersPerMsg+1 {
		t.Errorf("got %d headers at height %d, want those of two periods", len(c.headers), c.tip.height)
	}
	if n := len(c.locator()); n < 10 || n > 40 {
		t.Errorf("got %d hashes in a locator, want 10 to 40", n)
	}
}

// TestAnchor_IsMainnets: the constants fit each other.
func TestAnchor_IsMainnets(t *testing.T) {
	a := anchorOf(&chaincfg.MainNetParams)
	if (a.height+1)%2016 != 0 {
		t.Errorf("got height %d, want the last one of a period", a.height)
	}
	if blockchain.HashToBig(&a.hash).Cmp(blockchain.CompactToBig(a.bits)) > 0 {
		t.Errorf("got hash %v above the target of bits %08x", a.hash, a.bits)
	}
	if _, err := time.Parse(time.DateOnly, mainnetDate); err != nil {
		t.Error(err)
	}
}
