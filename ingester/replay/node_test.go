package replay_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/btcsuite/btcd/chaincfg/chainhash"
	zmq "github.com/pebbe/zmq4"

	"sightglass/ingester/replay"
	"sightglass/ingester/replay/simnode"
	"sightglass/ingester/testblock"
	"sightglass/ingester/transcript"
)

// realLife is a recording of a real node.
func realLife(t testing.TB) []transcript.Line {
	t.Helper()
	lines, err := transcript.ReadFiles(testblock.Data(t, "bitcoind/zmq.jsonl"), testblock.Data(t, "bitcoind/rpc.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

// newNode plays lines at a free port, with RPC.
func newNode(t testing.TB, lines []transcript.Line) *replay.Node {
	t.Helper()
	n, err := replay.NewNode(replay.NodeOptions{
		Endpoint: "tcp://127.0.0.1:*", RPCListen: "127.0.0.1:0", Log: slog.New(slog.DiscardHandler),
	}, lines)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Close)
	return n
}

// stepAll plays everything, and calls look, if not nil, with n after each line.
func stepAll(t testing.TB, n *replay.Node, look func(transcript.Line)) {
	t.Helper()
	for {
		line, ok, err := n.Step(replay.Deliver)
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			return
		}
		if look != nil {
			look(line)
		}
	}
}

// checkpoints counts the mempool lists with a sequence.
func checkpoints(lines []transcript.Line) int {
	n := 0
	for _, l := range lines {
		if l.Method == "getrawmempool" && bytes.Contains(l.Result, []byte("mempool_sequence")) {
			n++
		}
	}
	return n
}

// after returns the lines from the first that is later than t.
func after(lines []transcript.Line, t float64) []transcript.Line {
	return lines[slices.IndexFunc(lines, func(l transcript.Line) bool { return l.T > t }):]
}

func TestNode_RealTranscriptIsConsistent(t *testing.T) {
	lines := realLife(t)
	n := newNode(t, lines)
	stepAll(t, n, nil)
	if got, want := n.Agreed(), checkpoints(lines); got != want || want != 5 {
		t.Errorf("got %d of %d recorded mempools equal", got, want)
	}
	if ids, sequence := n.Mempool(); len(ids) != 2 || sequence != 3 {
		t.Errorf("got %d transactions and the next number %d at the end, want 2 and 3", len(ids), sequence)
	}
}

func TestNode_ReportsInconsistentTranscript(t *testing.T) {
	for name, c := range map[string]struct{ old, now string }{
		"another number": {`"mempool_sequence": 8}`, `"mempool_sequence": 7}`},
		"one missing":    {`"b46a457b06a79ab1304d5c2482c5168bd524c4bd8069098021db978ab4873cdd", `, ``},
		"one too many":   {`["b46a457b`, `["1111111111111111111111111111111111111111111111111111111111111111", "b46a457b`},
	} {
		t.Run(name, func(t *testing.T) {
			lines := realLife(t)
			for i, l := range lines {
				if l.T == 3.447 {
					lines[i].Result = bytes.ReplaceAll(l.Result, []byte(c.old), []byte(c.now))
				}
			}
			n := newNode(t, lines)
			var err error
			for ok := true; ok && err == nil; {
				_, ok, err = n.Step(replay.Deliver)
			}
			if !errors.Is(err, replay.ErrDisagree) || !strings.Contains(err.Error(), "getrawmempool at t=3.447") {
				t.Errorf("got %v, want a difference at t=3.447", err)
			}
		})
	}
}

// TestNode_TranscriptMayStartAnywhere drops the start. The node's first response becomes the state; from there on all
// must agree.
func TestNode_TranscriptMayStartAnywhere(t *testing.T) {
	for _, from := range []float64{2.7, 3.1, 3.4, 3.5, 3.84, 4.1} {
		lines := after(realLife(t), from)
		n := newNode(t, lines)
		stepAll(t, n, nil)
		if got, want := n.Agreed(), checkpoints(lines); got != want {
			t.Errorf("from t=%g: got %d of %d recorded mempools equal", from, got, want)
		}
	}
}

func TestNode_MempoolIsKnownFromStart(t *testing.T) {
	n := newNode(t, after(realLife(t), 3.2))
	if ids, sequence := n.Mempool(); len(ids) != 5 || sequence != 8 {
		t.Errorf("got %d transactions and the next number %d, want 5 and 8", len(ids), sequence)
	}
}

// TestNode_ResponsesMayRunAhead moves the node's responses before the notifications that they include, and after the
// next ones.
func TestNode_ResponsesMayRunAhead(t *testing.T) {
	for _, shift := range []float64{-0.2, +0.4} {
		lines := realLife(t)
		for i := range lines {
			if lines[i].Method == "getrawmempool" {
				lines[i].T += shift
			}
		}
		slices.SortStableFunc(lines, func(a, b transcript.Line) int { return int(1e6 * (a.T - b.T)) })
		n := newNode(t, lines)
		stepAll(t, n, nil)
		if got, want := n.Agreed(), checkpoints(lines); got != want {
			t.Errorf("by %g s: got %d of %d recorded mempools equal", shift, got, want)
		}
	}
}

func TestNode_SimulatedTranscriptsAreConsistent(t *testing.T) {
	total, letters := 0, make(map[string]int)
	for seed := range uint64(200) {
		lines := simnode.Lines(seed, 250)
		n := newNode(t, lines)
		stepAll(t, n, func(l transcript.Line) {
			if s, err := transcript.ParseSequence(l.Body); err == nil && l.Topic == transcript.TopicSequence {
				letters[string(s.Letter)]++
			}
			letters[l.Method]++
		})
		want := checkpoints(lines)
		if got := n.Agreed(); got != want {
			t.Fatalf("seed %d: got %d of %d mempools equal", seed, got, want)
		}
		total += want
		n.Close()
	}
	t.Logf("%d mempools; %v", total, letters)
	for _, kind := range []string{"A", "R", "C", "D", replay.Restart} {
		if letters[kind] < 200 {
			t.Errorf("got %d times %s in 200 simulations, want more", letters[kind], kind)
		}
	}
}

func TestLife_SeedIsReproducible(t *testing.T) {
	a, b := fmt.Sprint(simnode.Lines(7, 300)), fmt.Sprint(simnode.Lines(7, 300))
	if a != b {
		t.Error("got different lines for the same seed, want the same")
	}
	if a == fmt.Sprint(simnode.Lines(8, 300)) {
		t.Error("got the same lines for another seed, want others")
	}
}

// TestNode_NextListAppliesAfterLoss drops notifications, so that the counters have gaps. From a response on all must
// agree again, up to the next loss.
func TestNode_NextListAppliesAfterLoss(t *testing.T) {
	for seed := range uint64(50) {
		whole := simnode.Lines(seed, 250)
		lines := slices.Clone(whole)
		lines = slices.Delete(lines, len(lines)/2, len(lines)/2+3)
		n := newNode(t, lines)
		stepAll(t, n, nil)
		ids, sequence := n.Mempool()
		n.Close()
		truth := newNode(t, whole)
		stepAll(t, truth, nil)
		if wantIDs, want := truth.Mempool(); sequence != want || !slices.Equal(ids, wantIDs) {
			t.Errorf("seed %d: got %d transactions and number %d, want %d and %d", seed, len(ids), sequence, len(wantIDs), want)
		}
		truth.Close()
	}
}

// subscriber is a real SUB socket for all topics. It reads all the time: otherwise it would not subscribe again.
func subscriber(t *testing.T, endpoint string) <-chan [][]byte {
	t.Helper()
	zctx, err := zmq.NewContext()
	if err != nil {
		t.Fatal(err)
	}
	s, err := zctx.NewSocket(zmq.SUB)
	if err != nil {
		t.Fatal(err)
	}
	err = errors.Join(s.SetLinger(0), s.SetRcvhwm(0), s.SetReconnectIvl(5*time.Millisecond), s.SetSubscribe(""), s.Connect(endpoint))
	if err != nil {
		t.Fatal(err)
	}
	received := make(chan [][]byte, 100_000)
	var listening sync.WaitGroup
	listening.Go(func() {
		defer s.Close()
		for {
			frames, err := s.RecvMessageBytes(0)
			if err != nil { // Term ends it
				return
			}
			received <- frames
		}
	})
	t.Cleanup(func() {
		zctx.Term()
		listening.Wait()
	})
	return received
}

// receive returns the next notification.
func receive(t *testing.T, received <-chan [][]byte) transcript.Line {
	t.Helper()
	select {
	case frames := <-received:
		if len(frames) != 3 || len(frames[2]) != 4 {
			t.Fatalf("got %d frames, want 3", len(frames))
		}
		return transcript.Line{Topic: string(frames[0]), Body: frames[1], Counter: binary.LittleEndian.Uint32(frames[2])}
	case <-time.After(20 * time.Second):
		t.Fatal("got no notification for 20 s")
		panic("unreachable")
	}
}

func same(a, b transcript.Line) bool {
	return a.Topic == b.Topic && a.Counter == b.Counter && bytes.Equal(a.Body, b.Body)
}

func TestNode_RunPublishesInOrder(t *testing.T) {
	for name, lines := range map[string][]transcript.Line{"real": realLife(t), "simulated": simnode.Lines(1, 2000)} {
		t.Run(name, func(t *testing.T) {
			n, err := replay.NewNode(replay.NodeOptions{Endpoint: "tcp://127.0.0.1:*", Log: slog.New(slog.NewTextHandler(io.Discard, nil))}, lines)
			if err != nil {
				t.Fatal(err)
			}
			s := subscriber(t, n.Endpoint())
			done := make(chan error, 1)
			go func() { done <- n.Run(t.Context()) }()
			for i, want := range lines {
				if want.Topic == "" {
					continue
				}
				if got := receive(t, s); !same(got, want) {
					t.Fatalf("line %d: got %s %d, want %s %d", i, got.Topic, got.Counter, want.Topic, want.Counter)
				}
			}
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
}

func TestNode_RunAnswersUntilStopped(t *testing.T) {
	n := newNode(t, simnode.Lines(2, 20))
	subscriber(t, n.Endpoint())
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	for count := 0.0; count == 0; { // the simulation has blocks, so the message is published
		count = call(t, n, "getblockcount").(float64)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestNode_StepFaults(t *testing.T) {
	lines := []transcript.Line{{Topic: "a", Counter: 5}, {Topic: "b"}, {Topic: "c"}}
	n := newNode(t, lines)
	s := subscriber(t, n.Endpoint())
	if err := n.AwaitSubscriber(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	for _, fault := range []replay.Fault{replay.Duplicate, replay.Drop, replay.Deliver} {
		if _, _, err := n.Step(fault); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []transcript.Line{lines[0], lines[0], lines[2]} {
		if got := receive(t, s); !same(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	}
}

func TestNode_DroppedMessageChangesState(t *testing.T) {
	lines := simnode.Lines(3, 300)
	n := newNode(t, lines)
	for ok := true; ok; {
		var err error
		if _, ok, err = n.Step(replay.Drop); err != nil {
			t.Fatal(err)
		}
	}
	if n.Agreed() != checkpoints(lines) {
		t.Errorf("got %d of %d mempools equal, want all", n.Agreed(), checkpoints(lines))
	}
}

func TestNode_CutLosesMessages(t *testing.T) {
	lines := []transcript.Line{{Topic: "a"}, {Topic: "b"}, {Topic: "c"}}
	n := newNode(t, lines)
	s := subscriber(t, n.Endpoint())
	step := func() {
		t.Helper()
		if _, _, err := n.Step(replay.Deliver); err != nil {
			t.Fatal(err)
		}
	}
	if err := n.AwaitSubscriber(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	step()
	if got := receive(t, s); got.Topic != "a" {
		t.Errorf("got %v", got)
	}
	if err := n.Cut(); err != nil {
		t.Fatal(err)
	}
	step()
	if err := n.AwaitSubscriber(t.Context(), "c"); err != nil {
		t.Fatal(err)
	}
	step()
	if got := receive(t, s); got.Topic != "c" {
		t.Errorf("got %v, want c: b was sent without a subscriber", got)
	}
}

func TestNode_RestartEmptiesMempoolAndCuts(t *testing.T) {
	n := newNode(t, realLife(t))
	subscriber(t, n.Endpoint())
	if err := n.AwaitSubscriber(t.Context(), "rawtx"); err != nil {
		t.Fatal(err)
	}
	restarts := 0
	stepAll(t, n, func(l transcript.Line) {
		if l.Method != replay.Restart {
			return
		}
		restarts++
		if ids, sequence := n.Mempool(); len(ids) != 0 || sequence != 1 {
			t.Errorf("got %d transactions and the next number %d, want an empty mempool", len(ids), sequence)
		}
		if err := n.AwaitSubscriber(t.Context(), "rawtx"); err != nil { // the subscriber reconnects
			t.Fatal(err)
		}
	})
	if restarts != 1 {
		t.Errorf("got %d restarts, want 1", restarts)
	}
}

func TestNewNode_RejectsBadOptions(t *testing.T) {
	good := []transcript.Line{{Topic: "a"}}
	hostile := slices.Concat(make([]byte, 80), []byte{1}, testblock.Hostile()["output script"])
	free := replay.NodeOptions{Endpoint: "tcp://127.0.0.1:*"}
	for name, c := range map[string]struct {
		opts  replay.NodeOptions
		lines []transcript.Line
		want  string
	}{
		"no lines":       {free, nil, "the recording is empty"},
		"a broken line":  {free, []transcript.Line{{T: 2.5, Topic: "sequence", Body: []byte("x")}}, "t=2.5: not a sequence notification"},
		"a bad block":    {free, []transcript.Line{{T: 2.5, Topic: "rawblock", Body: hostile}}, "t=2.5: not a block: at byte 195140: expected 4000000"},
		"negative speed": {replay.NodeOptions{Endpoint: free.Endpoint, Speed: -1}, good, "speed -1: want 1"},
		"bad endpoint":   {replay.NodeOptions{Endpoint: "tcp://"}, good, "cannot publish on tcp://"},
		"bad address":    {replay.NodeOptions{Endpoint: free.Endpoint, RPCListen: "nowhere"}, good, "cannot serve RPC on nowhere"},
	} {
		t.Run(name, func(t *testing.T) {
			n, err := replay.NewNode(c.opts, c.lines)
			if err == nil {
				n.Close()
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
		})
	}
}

func TestMerkleRoot_RepeatsLastHash(t *testing.T) {
	if got := replay.MerkleRoot(nil); got != (chainhash.Hash{}) {
		t.Errorf("got %v for no transactions, want zero", got)
	}
	one := chainhash.Hash{1}
	if got := replay.MerkleRoot([]chainhash.Hash{one}); got != one {
		t.Errorf("got %v for one transaction, want its hash", got)
	}
	three := []chainhash.Hash{{1}, {2}, {3}}
	if replay.MerkleRoot(three) != replay.MerkleRoot(append(three, three[2])) {
		t.Error("got another root for an odd number, want the last hash twice")
	}
}
