package node_test

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/btcsuite/btcd/chaincfg/chainhash"

	"sightglass/ingester/node"
	"sightglass/ingester/replay"
	"sightglass/ingester/replay/simnode"
	"sightglass/ingester/transcript"
)

// never is an idle timeout for tests of what messages show.
const never = time.Hour

// TestNode_FetchesLostBlock drops messages of a block of which nothing was in the mempool, so that it changes no number
// of the mempool. Whatever shows the loss, the block is fetched.
func TestNode_FetchesLostBlock(t *testing.T) {
	const unseen, payments = 1200, 5
	for name, c := range map[string]struct {
		before replay.Fault  // of the topic sequence, before the block
		sent   int           // messages of the block that are delivered, from its coinbase on
		topics string        // of the payments' messages that are delivered after it; "": no payments
		quiet  time.Duration // the idle timeout
	}{
		"ten delivered, the C lost; the first of the topic sequence": {replay.Drop, 10, "rawtx sequence", never},
		"ten delivered, the C lost":                                  {replay.Deliver, 10, "rawtx sequence", never},
		"ten delivered, nothing after them":                          {replay.Drop, 10, "", never},
		"none delivered; the first of the topic sequence":            {replay.Drop, 0, "sequence", never},
		"none delivered; the next rawtx shows a gap":                 {replay.Drop, 0, "rawtx", never},
		"none delivered; the next A shows a gap":                     {replay.Deliver, 0, "sequence", never},
		"none delivered, nothing after them":                         {replay.Drop, 0, "", quiet},
		"all but the last and the C":                                 {replay.Deliver, unseen, "", quiet},
		"all but the last, and the C":                                {replay.Deliver, -1, "", never},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := simnode.New(1)
			before := len(l.Lines())
			l.Mine(unseen)
			mined := len(l.Lines())
			l.Pay(payments)
			lines := l.Lines()
			w := watchNode(t, lines, replay.NodeOptions{}, true, t.Output(), func(_ *watch, o *node.Options) { o.IdleTimeout = c.quiet })
			w.awaitSubscriber()
			w.playTopic(before, node.TopicSequence, c.before)
			w.awaitEvidence(true)
			w.settled()

			came := 0
			for _, line := range lines[before:mined] {
				f := replay.Drop
				if came < c.sent || c.sent < 0 && came != unseen {
					f = replay.Deliver
				}
				w.step(f)
				if line.Topic == node.TopicRawTx || line.Topic == node.TopicSequence {
					came++
				}
			}
			for _, line := range lines[mined:] {
				if c.topics == "" {
					break // the payments would change the mempool's numbers, which shows without a message
				}
				f := replay.Drop
				if line.Topic != "" && strings.Contains(c.topics, line.Topic) {
					f = replay.Deliver
				}
				w.step(f)
			}
			w.awaitMined()
		})
	}
}

// playTopic plays n lines, those of a topic with a fault.
func (w *watch) playTopic(n int, topic string, f replay.Fault) {
	w.t.Helper()
	for _, line := range w.lines[:n] {
		if line.Topic == topic {
			w.step(f)
		} else {
			w.step(replay.Deliver)
		}
	}
}

// settled waits until we are in sync and no request is pending, so that what follows is detected by its own messages
// and not by earlier requests.
func (w *watch) settled() {
	w.t.Helper()
	w.compare("settled")
	var before float64
	same := 0
	w.eventually(func() string {
		now := w.count("sightglass_node_resyncs_total")
		if now != before || w.count("sightglass_node_in_sync") != 1 {
			before, same = now, 0
		}
		if same++; same < 1500 { // 3 s: a block is abandoned after two, and lists are half a second apart
			return "got pending lists, want none"
		}
		return ""
	})
}

// awaitMined waits until all transactions of blocks are evidence.
func (w *watch) awaitMined() {
	w.t.Helper()
	want := make(map[chainhash.Hash]bool)
	for id, paid := range w.mined {
		if paid {
			want[id] = true
		}
	}
	w.eventually(func() string {
		missing, _ := w.difference(want)
		if len(missing) == 0 {
			return ""
		}
		return "got no evidence for a transaction of a block: " + missing[0].String()
	})
}

// TestNode_ReorganisationWithTwoEndpoints: the topics have separate endpoints, so blocks are fetched, and the response
// for the disconnected block comes last. Two new blocks have 160 of its 200 payments: 41 are removed, its coinbase
// among them.
func TestNode_ReorganisationWithTwoEndpoints(t *testing.T) {
	t.Parallel()
	const paid, kept = 200, 160
	l := simnode.New(1)
	l.Pay(paid)
	l.Mine(0)
	before := len(l.Lines())
	l.Reorganise(kept)
	lines := l.Lines()
	left := blockOf(t, lines[before:], transcript.Disconnected)

	f := newFront(t)
	w := watchNode(t, lines, replay.NodeOptions{Sequence: "tcp://127.0.0.1:*"}, true, t.Output(), f.behind,
		func(_ *watch, o *node.Options) { o.IdleTimeout = never })
	w.awaitSubscriber()
	w.play(before, replay.Deliver)
	w.compare("mined")
	w.awaitEvidence(true)
	w.settled()

	// Until both C's are received, the proxy holds the response for the disconnected block.
	var received atomic.Bool
	f.answer(func(rw http.ResponseWriter, r *http.Request) {
		if asksFor(r, left) {
			for again := time.NewTicker(time.Millisecond); !received.Load(); <-again.C {
				if r.Context().Err() != nil {
					return
				}
			}
		}
		f.node.ServeHTTP(rw, r)
	})
	earlier := w.count(messagesTotal)
	w.play(len(lines)-before, replay.Deliver)
	w.eventually(func() string {
		if w.count(messagesTotal)-earlier < messages(lines[before:]) {
			return "not all messages are received"
		}
		return ""
	})
	received.Store(true)
	f.answer(nil)
	w.awaitEvidence(true)
	removed := 0
	for _, is := range w.mined {
		if !is {
			removed++
		}
	}
	if removed != paid+1-kept {
		t.Errorf("got %d removed transactions in the recording, want %d", removed, paid+1-kept)
	}
}

// blockOf returns the block that connects or disconnects in lines.
func blockOf(t *testing.T, lines []transcript.Line, letter byte) chainhash.Hash {
	t.Helper()
	for _, line := range lines {
		if line.Topic != node.TopicSequence {
			continue
		}
		if s, err := transcript.ParseSequence(line.Body); err == nil && s.Letter == letter {
			return s.Hash
		}
	}
	t.Fatalf("got no block with the letter %c, want one", letter)
	panic("unreachable")
}

// asksFor reports whether a call is getblock for a block.
func asksFor(r *http.Request, block chainhash.Hash) bool {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return false
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	return bytes.Contains(body, []byte(`"getblock"`)) && bytes.Contains(body, []byte(block.String()))
}
