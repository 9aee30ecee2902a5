package node_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync"
	"testing"
	"time"

	"sightglass/ingester/bitcoind"
	"sightglass/ingester/node"
	"sightglass/ingester/replay"
	"sightglass/ingester/transcript"
	"sightglass/shared/logtest"
)

// A front is a proxy before the replayed node's RPC that can respond in its place.
type front struct {
	server *httptest.Server
	node   http.Handler

	mu       sync.Mutex
	instead  http.HandlerFunc // nil: the node responds
	released chan struct{}    // closed when instead changes
}

func newFront(t *testing.T) *front {
	t.Helper()
	f := &front{released: make(chan struct{})}
	f.server = httptest.NewServer(f)
	t.Cleanup(func() {
		f.answer(nil)
		f.server.Close()
	})
	return f
}

func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	instead := f.instead
	f.mu.Unlock()
	if instead != nil {
		instead(w, r)
		return
	}
	f.node.ServeHTTP(w, r)
}

// answer makes instead respond to every call from now on, and ends those that hang; nil restores the node.
func (f *front) answer(instead http.HandlerFunc) {
	f.mu.Lock()
	defer f.mu.Unlock()
	close(f.released)
	f.released, f.instead = make(chan struct{}), instead
}

// hang never responds.
func (f *front) hang(http.ResponseWriter, *http.Request) {
	f.mu.Lock()
	released := f.released
	f.mu.Unlock()
	<-released
	panic(http.ErrAbortHandler)
}

func hangUp(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

func unauthorised(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) }

func forbidden(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }

// behind is an option for watchNode: RPC goes through f.
func (f *front) behind(w *watch, o *node.Options) {
	w.t.Helper()
	target, err := url.Parse(w.theirs.RPCURL())
	if err != nil {
		w.t.Fatal(err)
	}
	f.node = httputil.NewSingleHostReverseProxy(target)
	if o.RPC, err = bitcoind.New(bitcoind.Options{URL: f.server.URL, User: "u", Password: "p"}); err != nil {
		w.t.Fatal(err)
	}
}

// zmqOnlyText is logged when RPC has failed for too long.
const zmqOnlyText = "continuing with ZMQ alone"

// TestNode_ContinuesWithZMQWhenRPCFails: ZMQ works and RPC does not. After the limit transactions count on arrival,
// which the log reports once. When RPC works again, all transactions are known, including earlier ones.
func TestNode_ContinuesWithZMQWhenRPCFails(t *testing.T) {
	for name, way := range map[string]func(*front) http.HandlerFunc{
		"hangs":                        func(f *front) http.HandlerFunc { return f.hang },
		"hangs up":                     func(*front) http.HandlerFunc { return hangUp },
		"rejects the user":             func(*front) http.HandlerFunc { return unauthorised },
		"forbids the calls, whitelist": func(*front) http.HandlerFunc { return forbidden },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var log logtest.Log
			f := newFront(t)
			f.answer(way(f))
			w := awayWatch(t, &log, f)
			w.ready()
			w.play(10, replay.Deliver)
			w.await(&log, zmqOnlyText)
			if !w.ours.ZMQOnly() || w.count("sightglass_node_zmq_only") != 1 {
				t.Error("got neither ZMQOnly nor its metric, want both")
			}
			w.eventually(func() string { // the earlier messages are handled
				if n, want := w.count(messagesTotal), messages(w.lines[:len(w.lines)-30]); n < want {
					return fmt.Sprintf("got %v of %v messages", n, want)
				}
				return ""
			})
			if _, err := w.ours.View(t.Context()); err != nil { // the last of them is not only counted
				t.Fatal(err)
			}
			held := w.count("sightglass_node_deferred_transactions_total")
			w.play(30, replay.Deliver)
			w.eventually(func() string {
				if _, surplus := w.difference(w.mined); len(surplus) < 15 {
					return fmt.Sprintf("got %d transactions as evidence, want 15", len(surplus))
				}
				return ""
			})
			if n := w.count("sightglass_node_deferred_transactions_total"); n != held {
				t.Errorf("got %v more deferred transactions since RPC failed, want none", n-held)
			}
			if n := log.Count(zmqOnlyText); n != 1 {
				t.Errorf("got %d log lines about ZMQ alone, want 1", n)
			}
			f.answer(nil)
			w.compare("RPC works")
			w.awaitEvidence(true)
			w.eventually(func() string {
				if w.ours.ZMQOnly() || w.count("sightglass_node_in_sync") != 1 {
					return "got out of sync although RPC works"
				}
				return ""
			})
		})
	}
}

// TestNode_RPCStopsWhileInSync: no transaction is deferred, and lost ones are fetched when RPC works again.
func TestNode_RPCStopsWhileInSync(t *testing.T) {
	var log logtest.Log
	f := newFront(t)
	w := awayWatch(t, &log, f)
	w.ready()
	w.play(10, replay.Deliver)
	w.compare("in sync")
	w.awaitEvidence(true)
	held := w.count("sightglass_node_deferred_transactions_total")
	f.answer(f.hang)
	w.play(4, replay.Drop)
	w.play(10, replay.Deliver)
	w.await(&log, zmqOnlyText)
	w.play(16, replay.Deliver)
	w.eventually(func() string {
		if _, surplus := w.difference(w.mined); len(surplus) < 17 {
			return fmt.Sprintf("got %d transactions as evidence, want 17", len(surplus))
		}
		return ""
	})
	// The first one after the gap might belong to a block whose start was lost: it is deferred until its A.
	if n := w.count("sightglass_node_deferred_transactions_total"); n > held+1 {
		t.Errorf("got %v more deferred transactions, want at most 1", n-held)
	}
	f.answer(nil)
	w.compare("RPC works")
	w.awaitEvidence(true)
}

// TestNode_RPCThatForbidsOneMethod: the whitelist has no such method, so the node returns its list but not the
// transactions or blocks. Transactions from ZMQ count, the log reports the cause once, and readiness shows it until RPC
// returns the rest.
func TestNode_RPCThatForbidsOneMethod(t *testing.T) {
	for _, method := range []string{"getmempoolentry", "getrawtransaction", "getblock", "getblockheader"} {
		t.Run(method, func(t *testing.T) {
			t.Parallel()
			var log logtest.Log
			f := newFront(t)
			f.answer(f.without(method))
			w := awayWatch(t, &log, f)
			w.awaitSubscriber()
			w.play(len(w.lines)-40, replay.Drop) // so that the block is fetched
			w.play(10, replay.Drop)              // and the mempool's transactions
			w.play(2, replay.Deliver)
			w.await(&log, fetchFailsText)
			if !w.ours.ZMQOnly() || w.count("sightglass_node_zmq_only") != 1 {
				t.Error("got no report of failing fetches from the node or its metric, want both")
			}
			w.play(28, replay.Deliver)
			w.eventually(func() string {
				if _, surplus := w.difference(w.mined); len(surplus) < 14 {
					return fmt.Sprintf("got %d transactions as evidence, want 14", len(surplus))
				}
				return ""
			})
			f.answer(nil)
			w.compare("RPC returns the rest")
			w.awaitEvidence(true)
			w.eventually(func() string {
				if w.ours.ZMQOnly() || w.count("sightglass_node_zmq_only") != 0 {
					return "got failing fetches reported although RPC works"
				}
				return ""
			})
			if n := log.Count(fetchFailsText); n != 1 {
				t.Errorf("got %d log lines about failing fetches, want 1", n)
			}
		})
	}
}

// fetchFailsText is logged when RPC returns lists, but not the listed transactions.
const fetchFailsText = "does not return the transactions or blocks"

// without forbids one method, as a whitelist does.
func (f *front) without(method string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // the client has disconnected
		}
		if bytes.Contains(body, []byte(`"`+method+`"`)) {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		f.node.ServeHTTP(w, r)
	}
}

// awayWatch watches plain through f, with a short limit for RPC.
func awayWatch(t *testing.T, log *logtest.Log, f *front) *watch {
	t.Helper()
	return watchNode(t, plain(), replay.NodeOptions{}, true, log, f.behind, func(_ *watch, o *node.Options) {
		o.ZMQOnlyAfter, o.IdleTimeout = 500*time.Millisecond, time.Hour
	})
}

// messages returns how many messages of our topics lines has.
func messages(lines []transcript.Line) (sum float64) {
	for _, l := range lines {
		if l.Topic == node.TopicRawTx || l.Topic == node.TopicSequence {
			sum++
		}
	}
	return sum
}

// messagesTotal counts valid messages.
const messagesTotal = "sightglass_node_messages_total"
