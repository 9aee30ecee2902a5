package node_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/btcsuite/btcd/wire"

	"sightglass/ingester/node"
	"sightglass/ingester/replay"
	"sightglass/ingester/replay/simnode"
	"sightglass/ingester/testblock"
	"sightglass/ingester/transcript"
	"sightglass/shared/logtest"
)

// A tamperer is a proxy before the replayed node's RPC that modifies responses.
type tamperer struct {
	t      *testing.T
	target string // the node's URL
	mu     sync.Mutex
	status int // responds with this status, unless 0
	tamper func(c call, answer string) string
}

// call is one call, single or of a batch.
type call struct {
	ID     json.RawMessage
	Method string
	Params []any
}

// through starts the proxy, for watchThrough.
func (m *tamperer) through(url string) string {
	m.target = url
	s := httptest.NewServer(m)
	m.t.Cleanup(s.Close)
	return s.URL
}

func (m *tamperer) set(status int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.status = status
}

func (m *tamperer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client has disconnected
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.status != 0 {
		w.WriteHeader(m.status)
		return
	}
	answer, err := http.Post(m.target, "application/json", bytes.NewReader(body))
	if err != nil {
		m.t.Error(err)
		return
	}
	defer answer.Body.Close()
	said, err := io.ReadAll(answer.Body)
	if err != nil {
		m.t.Error(err)
		return
	}
	w.WriteHeader(answer.StatusCode)
	var calls []call
	if json.Unmarshal(body, &calls) != nil { // no batch
		var one call
		if err := json.Unmarshal(body, &one); err != nil {
			m.t.Error(err)
		}
		_, _ = io.WriteString(w, m.tamper(one, string(said)))
		return
	}
	var answers []json.RawMessage
	if err := json.Unmarshal(said, &answers); err != nil {
		m.t.Error(err)
	}
	for i, c := range calls {
		answers[i] = json.RawMessage(m.tamper(c, string(answers[i])))
	}
	if err := json.NewEncoder(w).Encode(answers); err != nil {
		m.t.Log(err) // the client has disconnected
	}
}

func (c call) is(method string, id chainhash.Hash) bool {
	return c.Method == method && len(c.Params) > 0 && c.Params[0] == id.String()
}

func (c call) failed(code, message string) string {
	return `{"result":null,"error":{"code":` + code + `,"message":"` + message + `"},"id":` + string(c.ID) + `}`
}

func (c call) result(text string) string {
	return `{"result":` + text + `,"error":null,"id":` + string(c.ID) + `}`
}

// many is more transactions than one request fetches.
const many = 3000

// backfillOf drops the messages of many transactions but the last, so that they have to be fetched.
func backfillOf(t *testing.T, m *tamperer, log io.Writer, lines []transcript.Line) *watch {
	t.Helper()
	w := watchThrough(t, m.through, lines, replay.NodeOptions{RPCListen: "127.0.0.1:0"}, true, log)
	w.ready()
	w.play(2*many-2, replay.Drop)
	w.play(2, replay.Deliver)
	return w
}

// TestBackfill_SkipsFailingTransaction: the others are fetched, and the backfill ends.
func TestBackfill_SkipsFailingTransaction(t *testing.T) {
	lines := plainOf(many)
	bodies := lines[len(simnode.Lines(1, 0)):]
	bad, other := transaction(t, bodies[2*1234].Body).TxHash(), bodies[2*77].Body
	hostile := hex.EncodeToString(testblock.Hostile()["output script"])
	for name, answer := range map[string]func(call, string) string{
		"an error for its entry": func(c call, said string) string {
			if c.is("getmempoolentry", bad) {
				return c.failed("-1", "no entry")
			}
			return said
		},
		"no time in its entry": func(c call, said string) string {
			if c.is("getmempoolentry", bad) {
				return c.result("{}")
			}
			return said
		},
		"an error":               instead(bad, func(c call) string { return c.failed("-32603", "internal") }),
		"bytes that crash btcd":  instead(bad, func(c call) string { return c.result(`"` + hostile + `"`) }),
		"no hex":                 instead(bad, func(c call) string { return c.result(`"zz"`) }),
		"an object":              instead(bad, func(c call) string { return c.result("{}") }),
		"null":                   instead(bad, func(c call) string { return c.result("null") }),
		"of another transaction": instead(bad, func(c call) string { return c.result(`"` + hex.EncodeToString(other) + `"`) }),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var log logtest.Log
			var asked atomic.Int32
			m := &tamperer{t: t, tamper: func(c call, said string) string {
				changed := answer(c, said)
				if changed != said {
					asked.Add(1)
				}
				return changed
			}}
			w := backfillOf(t, m, &log, lines)
			w.await(&log, "skipped=1 ")
			w.mu.Lock()
			_, evidence := w.held[bad]
			delete(w.held, bad)
			w.mu.Unlock()
			if evidence {
				t.Error("got the skipped transaction as evidence")
			}
			w.awaitMany(bad)
			if n := w.count("sightglass_node_skipped_transactions_total"); n != 1 {
				t.Errorf("got %v skipped transactions, want 1", n)
			}
			if log.Count("backfill complete") == 0 || log.Count("skipped a transaction that could not be fetched") == 0 || log.Count(bad.String()) == 0 {
				t.Error("got no log lines about the skipped transaction and the end of the backfill")
			}
			if n := asked.Load(); n < 3 || n > 12 { // two requests may be in flight when it is skipped
				t.Errorf("got %d tries, want at least 3 and at most 12", n)
			}
		})
	}
}

// instead modifies the responses to getrawtransaction for one transaction.
func instead(id chainhash.Hash, answer func(call) string) func(call, string) string {
	return func(c call, said string) string {
		if c.is("getrawtransaction", id) {
			return answer(c)
		}
		return said
	}
}

// awaitMany waits until all of the mempool but one transaction is evidence.
func (w *watch) awaitMany(but chainhash.Hash) {
	w.t.Helper()
	pooled, _ := w.theirs.Mempool()
	if len(pooled) != many {
		w.t.Fatalf("got %d transactions in the mempool, want %d", len(pooled), many)
	}
	w.eventually(func() string {
		missing := 0
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, id := range pooled {
			if id != but && !w.held[id] {
				missing++
			}
		}
		if missing == 0 {
			return ""
		}
		return fmt.Sprintf("%d of %d transactions of the mempool are no evidence", missing, len(pooled))
	})
}

// TestBackfill_RetriesErrorsAboutTheNode: after an outage of the whole node nothing is missing.
func TestBackfill_RetriesErrorsAboutTheNode(t *testing.T) {
	lines := plainOf(many)
	bad := transaction(t, lines[len(simnode.Lines(1, 0))+2*1234].Body).TxHash()
	for name, status := range map[string]int{
		"starting, in one response of a batch": 0,
		"unauthorised":                         http.StatusUnauthorized,
		"forbidden":                            http.StatusForbidden,
		"unavailable":                          http.StatusServiceUnavailable,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var log logtest.Log
			var passed atomic.Bool
			m := &tamperer{t: t}
			m.tamper = func(c call, said string) string {
				if !c.is("getrawtransaction", bad) || passed.Load() {
					return said
				}
				m.status = status // for all that follows
				return c.failed("-28", "Loading block index…")
			}
			w := backfillOf(t, m, &log, lines)
			w.eventually(func() string {
				if w.count("sightglass_node_rpc_failures_total") < 2 {
					return "no failure is counted"
				}
				return ""
			})
			passed.Store(true)
			m.set(0)
			w.await(&log, "skipped=0 ")
			w.awaitMany(chainhash.Hash{})
			if n := w.count("sightglass_node_skipped_transactions_total"); n != 0 {
				t.Errorf("got %v skipped transactions, want none", n)
			}
		})
	}
}

// A minedBlock is a block of a recording. Its coinbase is line first.
type minedBlock struct {
	id    chainhash.Hash
	first int
	txids []chainhash.Hash
}

// threeBlocks returns a recording that ends with its third block. The second and the third block have transactions that
// were in the mempool before and others that were not.
func threeBlocks(t *testing.T) ([]transcript.Line, []minedBlock) {
	t.Helper()
	l := simnode.New(1)
	for range 2 {
		l.Pay(10)
		l.Mine(5)
	}
	lines := l.Lines()
	var blocks []minedBlock
	var b minedBlock
	for i, l := range lines {
		switch l.Topic {
		case node.TopicRawTx:
			tx := transaction(t, l.Body)
			if tx.TxIn[0].PreviousOutPoint.Index == wire.MaxPrevOutIndex {
				b = minedBlock{first: i}
			}
			b.txids = append(b.txids, tx.TxHash())
		case node.TopicSequence:
			s, err := transcript.ParseSequence(l.Body)
			if err != nil {
				t.Fatal(err)
			}
			if s.Letter == transcript.Connected {
				b.id = s.Hash
				blocks = append(blocks, b)
			}
		}
	}
	return lines, blocks
}

// TestWalk_SkipsFailingBlock: the walk continues after it. Of its payments those that were in the mempool before
// remain evidence.
func TestWalk_SkipsFailingBlock(t *testing.T) {
	lines, blocks := threeBlocks(t)
	bad := blocks[1]
	hostile := hex.EncodeToString(slices.Concat(make([]byte, 80), []byte{1}, testblock.Hostile()["witness item"]))
	for name, c := range map[string]struct {
		answer  func(call) string
		withIDs bool // getblock 1 succeeds
	}{
		"bytes that crash btcd": {func(c call) string { return c.result(`"` + hostile + `"`) }, true},
		"null":                  {func(c call) string { return c.result("null") }, true},
		"an error":              {func(c call) string { return c.failed("-1", "Can't read block from disk") }, false},
		"not found":             {func(c call) string { return c.failed("-5", "Block not found") }, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var log logtest.Log
			m := &tamperer{t: t, tamper: func(asked call, said string) string {
				if asked.is("getblock", bad.id) && (asked.Params[1] == 0. || !c.withIDs) {
					return c.answer(asked)
				}
				return said
			}}
			w := watchThrough(t, m.through, lines, replay.NodeOptions{RPCListen: "127.0.0.1:0"}, true, &log)
			w.awaitSubscriber()
			w.play(bad.first, replay.Deliver)
			w.awaitEvidence(true)
			w.mu.Lock()
			received := maps.Clone(w.held)
			w.mu.Unlock()
			w.play(len(lines)-bad.first, replay.Drop)
			w.await(&log, "skipped a block that could not be fetched")
			w.compare("all fetched")
			for _, id := range bad.txids {
				if !received[id] {
					delete(w.mined, id)
				}
			}
			w.awaitEvidence(c.withIDs)
			if n := w.count("sightglass_node_skipped_blocks_total"); n != 1 {
				t.Errorf("got %v skipped blocks, want 1", n)
			}
		})
	}
}

// TestAssembler_FetchesBlockWithMalformedTransaction: a block with a malformed transaction is fetched. If that is the
// coinbase, the others do not count as new transactions of the mempool.
func TestAssembler_FetchesBlockWithMalformedTransaction(t *testing.T) {
	lines, blocks := threeBlocks(t)
	received := make(map[chainhash.Hash]bool)
	for _, l := range lines[:blocks[2].first] {
		if l.Topic == node.TopicRawTx {
			received[transaction(t, l.Body).TxHash()] = true
		}
	}
	fresh := slices.IndexFunc(blocks[2].txids[1:], func(id chainhash.Hash) bool { return !received[id] }) + 1
	for name, damaged := range map[string]int{"the coinbase": 0, "one not in the mempool before": fresh} {
		t.Run(name, func(t *testing.T) {
			w := newWatch(t, lines, true, t.Output())
			w.awaitSubscriber()
			w.play(blocks[2].first, replay.Deliver)
			w.compare("two blocks delivered")
			w.awaitEvidence(true)
			before := w.count("sightglass_node_deferred_transactions_total")
			w.play(damaged, replay.Deliver)
			w.play(1, replay.Damage)
			w.play(len(lines)-blocks[2].first-damaged-1, replay.Deliver)
			w.compare("all delivered")
			w.awaitEvidence(true)
			deferred, others := w.count("sightglass_node_deferred_transactions_total")-before, len(blocks[2].txids)-1
			if damaged == 0 && deferred != float64(others) {
				t.Errorf("got %v deferred transactions of a block without its coinbase, want %d", deferred, others)
			}
		})
	}
}
