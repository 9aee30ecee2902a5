package replay

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/btcsuite/btcd/wire"

	"sightglass/ingester/rawtx"
	"sightglass/ingester/transcript"
)

// Restart is the Method of a line that a Node inserts where the recorded node restarted.
const Restart = "restart"

// An event is a line to play.
type event struct {
	transcript.Line
	lost bool // notifications of its topic are missing before it
}

// A recording is a transcript with the results of scanning it before playback.
type recording struct {
	events         []event
	chain          chain // all blocks in the recording, and the tip at the start
	topics         []string
	chainInfo      json.RawMessage // the first response to getblockchaininfo
	networkInfo    json.RawMessage // the first response to getnetworkinfo
	highWaterMarks map[string]int  // by topic, from the first response to getzmqnotifications
	start          *checkpoint     // the mempool at the start, if the recording starts within a run of the node; nil: empty or unknown
	fromStart      bool            // the recording starts with the node: the mempool is empty
	numbered       bool            // a number of the mempool has been seen
	latest         *block          // the last one that connects and has a header
	end            float64         // when latest connects
}

// scan collects the state that is needed before the first line is played.
func scan(lines []transcript.Line) (*recording, error) {
	r := &recording{chain: newChain()}
	s := splitter{counters: make(map[string]uint32)}
	for _, line := range lines {
		if line.Topic == "" {
			if s.nextResponse(line) {
				r.restart(line.T)
			}
			r.scanResponse(line)
			r.events = append(r.events, event{Line: line})
			continue
		}
		if err := r.scanNotification(&s, line); err != nil {
			return nil, fmt.Errorf("the recording at t=%g: %w", line.T, err)
		}
	}
	r.scanChain()
	return r, nil
}

func (r *recording) scanNotification(s *splitter, line transcript.Line) error {
	if !slices.Contains(r.topics, line.Topic) {
		r.topics = append(r.topics, line.Topic)
	}
	var seq transcript.Sequence
	var err error
	switch line.Topic {
	case transcript.TopicSequence:
		seq, err = transcript.ParseSequence(line.Body)
	case transcript.TopicRawBlock:
		err = r.scanBlock(line.Body)
	}
	if err != nil {
		return err
	}
	restarts, lost := s.next(line, seq.Number)
	if restarts {
		r.restart(line.T)
	}
	r.events = append(r.events, event{Line: line, lost: lost})
	if seq.Number != 0 && !r.numbered {
		r.numbered, r.fromStart = true, seq.Number == 1 && r.start == nil
	}
	return nil
}

// restart inserts a restart, whose first sign is at time sign: a second before that, so that subscribers can reconnect,
// but after all earlier lines.
func (r *recording) restart(sign float64) {
	t := max(sign-1, r.events[len(r.events)-1].T)
	r.events = append(r.events, event{Line: transcript.Line{T: t, Method: Restart}})
}

// A splitter finds restarts of the node and missing notifications.
type splitter struct {
	counters     map[string]uint32 // the last of each topic in this run
	restarted    bool              // this run is not the first
	lastNumber   uint64            // the last number of the mempool
	lastResponse uint64            // the last number in a response
}

// nextResponse handles a response. A mempool number that goes down shows a restart of which nothing was published yet.
func (s *splitter) nextResponse(line transcript.Line) (restarted bool) {
	var a struct {
		Next uint64 `json:"mempool_sequence"`
	}
	if line.Method != "getrawmempool" || json.Unmarshal(line.Result, &a) != nil || a.Next == 0 {
		return false
	}
	if restarted = a.Next < s.lastResponse; restarted {
		*s = splitter{counters: make(map[string]uint32), restarted: true}
	}
	s.lastResponse = a.Next
	return restarted
}

// next handles a notification, with its number if it has one. A counter or a number that does not go up shows a
// restart.
func (s *splitter) next(line transcript.Line, number uint64) (restarts, lost bool) {
	last, known := s.counters[line.Topic]
	restarts = known && int32(line.Counter-last) <= 0 || number != 0 && number <= s.lastNumber
	if restarts {
		*s = splitter{counters: make(map[string]uint32), restarted: true}
		known = false
	}
	switch {
	case known:
		lost = line.Counter != last+1
	case s.restarted:
		lost = line.Counter != 0
	}
	s.counters[line.Topic] = line.Counter
	s.lastNumber = max(s.lastNumber, number)
	return restarts, lost
}

// scanBlock parses a serialised block.
func (r *recording) scanBlock(raw []byte) error {
	msg, err := rawtx.DecodeBlock(raw)
	if err != nil {
		return err
	}
	b := r.chain.block(msg.BlockHash())
	b.header, b.whole = &msg.Header, raw
	b.txids = make([]chainhash.Hash, 0, len(msg.Transactions))
	for _, tx := range msg.Transactions {
		b.txids = append(b.txids, tx.TxHash())
	}
	if len(msg.Transactions) > 0 && rawtx.IsCoinbase(msg.Transactions[0]) {
		b.height = coinbaseHeight(msg.Transactions[0])
	}
	return nil
}

// scanHighWaterMarks records how many messages the node queued for a slow subscriber.
func (r *recording) scanHighWaterMarks(result json.RawMessage) {
	var published []struct {
		Type string `json:"type"`
		HWM  int    `json:"hwm"`
	}
	if r.highWaterMarks != nil || json.Unmarshal(result, &published) != nil {
		return
	}
	r.highWaterMarks = make(map[string]int)
	for _, p := range published {
		r.highWaterMarks[strings.TrimPrefix(p.Type, "pub")] = p.HWM
	}
}

// scanResponse uses what an RPC response shows of earlier times. A malformed one is ignored: only notifications are
// played.
func (r *recording) scanResponse(line transcript.Line) {
	switch line.Method {
	case "getblock", "getblockheader":
		var text string
		if json.Unmarshal(line.Result, &text) != nil {
			r.scanBlockJSON(line.Result)
		} else if raw, err := hex.DecodeString(text); err == nil {
			_ = r.scanBlock(raw) // fails for a bare header, which says less than the same in JSON
		}
	case "getblockchaininfo":
		if r.chainInfo == nil {
			r.chainInfo = line.Result
		}
	case "getnetworkinfo":
		if r.networkInfo == nil {
			r.networkInfo = line.Result
		}
	case "getzmqnotifications":
		r.scanHighWaterMarks(line.Result)
	case "getrawmempool":
		if r.start != nil || r.fromStart {
			return
		}
		if c, ok := checkpointOf(line); ok {
			r.start = &c
		}
	}
}

// scanBlockJSON parses a response of getblockheader, or of getblock with verbosity 1.
func (r *recording) scanBlockJSON(result json.RawMessage) {
	var a struct {
		Hash, PreviousBlockHash, MerkleRoot chainhash.Hash
		Height, Time                        int64
		Version                             int32
		Nonce                               uint32
		Bits                                string
		Tx                                  []chainhash.Hash
	}
	if json.Unmarshal(result, &a) != nil {
		return
	}
	bits, err := strconv.ParseUint(a.Bits, 16, 32)
	h := wire.BlockHeader{Version: a.Version, PrevBlock: a.PreviousBlockHash, MerkleRoot: a.MerkleRoot,
		Timestamp: time.Unix(a.Time, 0), Bits: uint32(bits), Nonce: a.Nonce}
	if err != nil || h.BlockHash() != a.Hash {
		return
	}
	b := r.chain.block(a.Hash)
	b.header, b.height = &h, a.Height
	if len(a.Tx) > 0 {
		b.txids = a.Tx
	}
}

// checkpointOf parses a response to getrawmempool false true; ok is false if it has another form.
func checkpointOf(line transcript.Line) (c checkpoint, ok bool) {
	var a struct {
		IDs  []chainhash.Hash `json:"txids"`
		Next uint64           `json:"mempool_sequence"`
	}
	if line.Method != "getrawmempool" || json.Unmarshal(line.Result, &a) != nil || a.Next == 0 {
		return c, false
	}
	c = checkpoint{t: line.T, next: a.Next, ids: make(map[chainhash.Hash]float64, len(a.IDs))}
	for _, id := range a.IDs {
		c.ids[id] = line.T
	}
	return c, true
}

// scanChain finds the tip at the start, and the block that sets the clock.
func (r *recording) scanChain() {
	first := true
	for _, e := range r.events {
		if e.Topic != transcript.TopicSequence {
			continue
		}
		s, _ := transcript.ParseSequence(e.Body) // it was parsed before
		if s.Letter != transcript.Connected && s.Letter != transcript.Disconnected {
			continue
		}
		b := r.chain.block(s.Hash)
		if first {
			r.setTipBefore(s.Letter, b)
			first = false
		}
		if s.Letter == transcript.Connected && b.header != nil {
			r.latest, r.end = b, e.T
		}
	}
	if r.chain.tip == unknown {
		r.setTipFromResponse()
	}
}

// setTipBefore sets the tip to what it must have been before the first notification about a block, if that is known.
func (r *recording) setTipBefore(letter byte, b *block) {
	if b.header == nil || b.height == unknown || letter == transcript.Connected && b.header.PrevBlock == (chainhash.Hash{}) {
		return
	}
	if letter == transcript.Connected {
		before := r.chain.block(b.header.PrevBlock)
		before.height = b.height - 1
		b = before
	}
	r.chain.setTip(b, r.events[0].T)
}

func (r *recording) setTipFromResponse() {
	var a struct {
		Blocks        int64
		BestBlockHash chainhash.Hash
	}
	if r.chainInfo == nil || json.Unmarshal(r.chainInfo, &a) != nil {
		return
	}
	b := r.chain.block(a.BestBlockHash)
	b.height = a.Blocks
	r.chain.setTip(b, r.events[0].T)
}

var errEmpty = errors.New("the recording is empty: want at least one line")
