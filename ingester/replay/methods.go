package replay

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/btcsuite/btcd/chaincfg/chainhash"
)

// methods are the RPC methods of a Node. Each is called with the lock held.
var methods = map[string]func(*Node, params) (any, error){
	"getrawmempool":       (*Node).getRawMempool,
	"getmempoolinfo":      (*Node).getMempoolInfo,
	"getmempoolentry":     (*Node).getMempoolEntry,
	"getrawtransaction":   (*Node).getRawTransaction,
	"getblock":            (*Node).getBlock,
	"getblockheader":      (*Node).getBlockHeader,
	"getblockhash":        (*Node).getBlockHash,
	"getbestblockhash":    (*Node).getBestBlockHash,
	"getblockcount":       (*Node).getBlockCount,
	"getblockchaininfo":   (*Node).getBlockchainInfo,
	"getzmqnotifications": (*Node).getZMQNotifications,
	"getnetworkinfo":      (*Node).getNetworkInfo,
}

// object is a JSON object.
type object = map[string]any

func (n *Node) getRawMempool(p params) (any, error) {
	verbose, err := p.number(0, 0)
	if err != nil {
		return nil, err
	}
	withNumber, err := p.number(1, 0)
	switch {
	case err != nil:
		return nil, err
	case verbose != 0 && withNumber != 0:
		return nil, &RPCError{codeInvalidParameter, "Verbose results cannot contain mempool sequence values."}
	case verbose != 0:
		entries := make(object, len(n.pool.ids))
		for id, t := range n.pool.ids {
			entries[id.String()] = n.entry(id, t)
		}
		return entries, nil
	}
	ids := make([]chainhash.Hash, 0, len(n.pool.ids))
	for id := range n.pool.ids {
		ids = append(ids, id)
	}
	if withNumber != 0 {
		return object{"txids": ids, "mempool_sequence": n.pool.next}, nil
	}
	return ids, nil
}

// entry returns what is known of a transaction without the amounts of its inputs. Its time is when it entered in the
// recording; the recording's start, if it was there before.
func (n *Node) entry(id chainhash.Hash, t float64) object {
	return object{
		"time":   n.clock.playing(t).Unix(),
		"height": max(n.rec.chain.tip, 0),
		"size":   len(n.bodies[id]),
	}
}

func (n *Node) getMempoolInfo(params) (any, error) {
	size := 0
	for id := range n.pool.ids {
		size += len(n.bodies[id])
	}
	return object{"loaded": !n.loading, "size": len(n.pool.ids), "bytes": size, "unbroadcastcount": 0}, nil
}

func (n *Node) getMempoolEntry(p params) (any, error) {
	id, err := p.hash(0)
	if err != nil {
		return nil, err
	}
	t, ok := n.pool.ids[id]
	if !ok {
		return nil, &RPCError{codeNotFound, "Transaction not in mempool"}
	}
	return n.entry(id, t), nil
}

// getRawTransaction returns transactions of the mempool only, like bitcoind without -txindex.
func (n *Node) getRawTransaction(p params) (any, error) {
	id, err := p.hash(0)
	if err != nil {
		return nil, err
	}
	verbosity, err := p.number(1, 0)
	switch {
	case err != nil:
		return nil, err
	case verbosity != 0:
		return nil, &RPCError{codeInvalidParameter, fmt.Sprintf("a replay supports getrawtransaction with verbosity 0, not %d", verbosity)}
	}
	_, unconfirmed := n.pool.ids[id]
	body, known := n.bodies[id]
	if !unconfirmed || !known {
		return nil, &RPCError{codeNotFound, "No such mempool transaction. Use -txindex or provide a block hash to enable blockchain transaction queries. Use gettransaction for wallet transactions."}
	}
	return hex.EncodeToString(body), nil
}

// blockOf returns the block that a call names, if the node has announced it.
func (n *Node) blockOf(p params) (*block, error) {
	hash, err := p.hash(0)
	if err != nil {
		return nil, err
	}
	b, ok := n.rec.chain.blocks[hash]
	if !ok || !b.announced {
		return nil, &RPCError{codeNotFound, "Block not found"}
	}
	return b, nil
}

func (n *Node) getBlock(p params) (any, error) {
	b, err := n.blockOf(p)
	if err != nil {
		return nil, err
	}
	verbosity, err := p.number(1, 1)
	switch {
	case err != nil:
		return nil, err
	case verbosity > 1:
		return nil, &RPCError{codeInvalidParameter, fmt.Sprintf("a replay supports getblock with verbosity 0 and 1, not %d", verbosity)}
	case b.txids == nil:
		return nil, &RPCError{codeMisc, "Block not available (pruned data)"}
	}
	raw := b.raw(n.bodies)
	switch {
	case verbosity == 1:
		result := n.headerObject(b)
		result["tx"] = slices.Clone(b.txids)
		result["size"] = len(raw)
		return result, nil
	case raw == nil:
		return nil, &RPCError{codeMisc, "Block not available (pruned data)"}
	default:
		return hex.EncodeToString(raw), nil
	}
}

func (n *Node) getBlockHeader(p params) (any, error) {
	b, err := n.blockOf(p)
	if err != nil {
		return nil, err
	}
	verbose, err := p.number(1, 1)
	if err != nil {
		return nil, err
	}
	if verbose != 0 {
		return n.headerObject(b), nil
	}
	var raw bytes.Buffer
	header := n.rec.chain.headerOf(b, n.clock.header(b))
	if err := header.Serialize(&raw); err != nil {
		return nil, err
	}
	return hex.EncodeToString(raw.Bytes()), nil
}

func (n *Node) headerObject(b *block) object {
	chain, at := &n.rec.chain, n.clock.header(b)
	h := chain.headerOf(b, at)
	result := object{
		"hash":          b.hash,
		"confirmations": chain.confirmations(b),
		"height":        b.height,
		"version":       h.Version,
		"versionHex":    fmt.Sprintf("%08x", h.Version),
		"merkleroot":    h.MerkleRoot,
		"time":          at.Unix(),
		"mediantime":    at.Unix(),
		"nonce":         h.Nonce,
		"bits":          fmt.Sprintf("%08x", h.Bits),
		"nTx":           len(b.txids),
	}
	if h.PrevBlock != (chainhash.Hash{}) {
		result["previousblockhash"] = h.PrevBlock
	}
	if next, ok := chain.active[b.height+1]; ok && chain.confirmations(b) > 0 {
		result["nextblockhash"] = next
	}
	return result
}

func (n *Node) getBlockHash(p params) (any, error) {
	height, err := p.number(0, unknown)
	if err != nil {
		return nil, err
	}
	if height < 0 || height > n.rec.chain.tip {
		return nil, &RPCError{codeInvalidParameter, "Block height out of range"}
	}
	hash, ok := n.rec.chain.active[height]
	if !ok {
		return nil, &RPCError{codeInvalidParameter, fmt.Sprintf("the recording does not show which block was at height %d", height)}
	}
	return hash, nil
}

func (n *Node) getBestBlockHash(params) (any, error) {
	return n.rec.chain.active[n.rec.chain.tip], nil
}

func (n *Node) getBlockCount(params) (any, error) {
	return max(n.rec.chain.tip, 0), nil
}

// getBlockchainInfo returns the recorded response with the current chain.
func (n *Node) getBlockchainInfo(params) (any, error) {
	result := object{"chain": "main", "verificationprogress": 1}
	if n.rec.chainInfo != nil {
		if err := json.Unmarshal(n.rec.chainInfo, &result); err != nil {
			return nil, err
		}
	}
	chain := &n.rec.chain
	best := chain.active[chain.tip]
	height := max(chain.tip, 0)
	result["blocks"], result["headers"], result["bestblockhash"] = height, height, best
	result["initialblockdownload"] = false
	if b, ok := chain.blocks[best]; ok {
		at := n.clock.header(b).Unix()
		result["time"], result["mediantime"] = at, at
	}
	return result, nil
}

func (n *Node) getZMQNotifications(params) (any, error) {
	result := []object{}
	for _, topic := range slices.Sorted(slices.Values(n.rec.topics)) {
		mark, recorded := n.rec.highWaterMarks[topic]
		if !recorded {
			mark = sendHighWater
		}
		result = append(result, object{"type": "pub" + topic, "address": n.bound[n.socketOf(topic)], "hwm": mark})
	}
	return result, nil
}

func (n *Node) getNetworkInfo(params) (any, error) {
	if n.rec.networkInfo != nil {
		return n.rec.networkInfo, nil
	}
	return object{"version": 280100, "subversion": "/Satoshi:28.1.0/", "networkactive": true}, nil
}
