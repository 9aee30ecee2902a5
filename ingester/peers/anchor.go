package peers

import (
	"time"

	"github.com/btcsuite/btcd/chaincfg"
	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/btcsuite/btcd/wire"
)

// An anchor is a block that is known to be in the chain, from which peers' headers are checked.
type anchor struct {
	height int32
	hash   chainhash.Hash
	bits   uint32    // its difficulty
	time   time.Time // zero: not known
}

// The newest block that this version knows to be in mainnet's chain: the last one of a period of the difficulty, from the
// checkpoints of Electrum, of mainnetDate. docs/releases.md says how to renew it; infra/release/build fails after a year.
const (
	mainnetHeight = 953567
	mainnetHash   = "00000000000000000001b315e72169bef4867bf780527aa97c625ee9c001dc5d"
	mainnetBits   = 0x170240c3
	mainnetDate   = "2026-07-01"
)

// anchorOf returns the anchor of mainnet, or the genesis block of another network.
func anchorOf(params *chaincfg.Params) anchor {
	if params.Net != wire.MainNet {
		genesis := params.GenesisBlock.Header
		return anchor{hash: genesis.BlockHash(), bits: genesis.Bits, time: genesis.Timestamp}
	}
	hash, err := chainhash.NewHashFromStr(mainnetHash)
	if err != nil {
		panic(err) // the constant is malformed
	}
	return anchor{height: mainnetHeight, hash: *hash, bits: mainnetBits, time: time.Unix(0, 0)}
}
