package peers

import (
	"bytes"
	"encoding/hex"

	"github.com/btcsuite/btcd/chaincfg"
	"github.com/btcsuite/btcd/wire"
)

// The newest block that is known to this version: 893531, of 22 April 2025. infra/release/anchor renews it.
const (
	mainnetHeight = 893531
	mainnetHeader = "00e061224b7f3a6aa9fb9f92673b632c0d3c76bb770d2a57509d0000000000000000000037d14fa7b9f1320865ec0d8953a9b06b822b2ccd83750c59f7f091b0720872aaf0c10768b64802174dd8f938"
)

// anchorOf returns the anchor of mainnet, or the genesis block of another network.
func anchorOf(params *chaincfg.Params) anchor {
	if params.Net != wire.MainNet {
		return anchor{header: params.GenesisBlock.Header}
	}
	raw, err := hex.DecodeString(mainnetHeader)
	if err != nil {
		panic(err) // the constant is malformed
	}
	a := anchor{height: mainnetHeight}
	if err := a.header.Deserialize(bytes.NewReader(raw)); err != nil {
		panic(err)
	}
	return a
}
