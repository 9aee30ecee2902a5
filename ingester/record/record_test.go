package record

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"sightglass/ingester/bitcoind"
	"sightglass/ingester/replay"
	"sightglass/ingester/replay/simnode"
	"sightglass/ingester/testblock"
	"sightglass/ingester/transcript"
	"sightglass/ingester/zmqsub"
	"sightglass/shared/logtest"
)

// A tape is a running recording of a replayed node.
type tape struct {
	node     *replay.Node
	recorder *recorder
	out      string
	stop     func() error
	spy      *spy // nil without RPC
}

// A spy reports the mempool sequences that the recorder received.
type spy struct {
	Caller
	numbers chan uint64
}

func (s *spy) Call(ctx context.Context, method string, params ...any) (json.RawMessage, error) {
	result, err := s.Caller.Call(ctx, method, params...)
	var a struct {
		Next uint64 `json:"mempool_sequence"`
	}
	if json.Unmarshal(result, &a) == nil && a.Next > 0 {
		select {
		case s.numbers <- a.Next:
		default: // no test waits
		}
	}
	return result, err
}

// await returns when the recorder has received a sequence that satisfies good.
func (s *spy) await(t *testing.T, good func(number uint64) bool) {
	t.Helper()
	giveUp := time.After(20 * time.Second)
	for {
		select {
		case number := <-s.numbers:
			if good(number) {
				return
			}
		case <-giveUp:
			t.Fatal("got no such response for 20 s")
		}
	}
}

// roll starts to record lines. The RPC interval is short, so that a short simulation has responses too.
func roll(t *testing.T, lines []transcript.Line, withRPC bool, maxSize Size, log io.Writer) *tape {
	t.Helper()
	logger := slog.New(slog.NewTextHandler(log, nil))
	n, err := replay.NewNode(replay.NodeOptions{Endpoint: "tcp://127.0.0.1:*", RPCListen: "127.0.0.1:0", Log: logger}, lines)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Close)
	tp := &tape{node: n}
	o := Options{ZMQ: []string{n.Endpoint()}, Blocks: true, MaxSize: maxSize, Out: filepath.Join(t.TempDir(), "it.jsonl"), Log: logger}
	if withRPC {
		client, err := bitcoind.New(bitcoind.Options{URL: n.RPCURL(), User: "u", Password: "p"})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(client.Close)
		tp.spy = &spy{client, make(chan uint64)}
		o.RPC = tp.spy
	}
	r := newRecorder(o)
	tp.recorder = r
	r.checkInterval, r.settleDelay = 5*time.Millisecond, time.Millisecond
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.run(ctx) }()
	tp.out, tp.stop = o.Out, sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	t.Cleanup(func() { _ = tp.stop() }) // play checks the error
	tp.awaitRecorder(t)
	return tp
}

func (tp *tape) awaitRecorder(t *testing.T) {
	t.Helper()
	for _, topic := range []string{"rawtx", "sequence", "hashblock", "rawblock"} {
		if err := tp.node.AwaitSubscriber(t.Context(), topic); err != nil {
			t.Fatal(err)
		}
	}
}

// play plays all lines, and stops the recorder when it has all of them. It returns the recording.
func (tp *tape) play(t *testing.T, lines []transcript.Line) []transcript.Line {
	t.Helper()
	sent, zmq := int64(0), published(lines)
	for n := 0; ; n++ {
		if n%100 == 0 || restartsAt(zmq, sent) {
			tp.awaitReceived(t, sent)
		}
		line, ok, err := tp.node.Step(replay.Deliver)
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			break
		}
		if line.Topic != "" {
			sent++
		}
		if line.Method == replay.Restart {
			tp.awaitRecorder(t)
		}
		tp.awaitResponse(t, n, line)
	}
	tp.awaitReceived(t, sent)
	if err := tp.stop(); err != nil {
		t.Fatal(err)
	}
	got, err := transcript.ReadFiles(tp.out)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// restartsAt reports whether the node restarted before the n-th notification.
func restartsAt(zmq []transcript.Line, n int64) bool {
	return 0 < n && n < int64(len(zmq)) && zmq[n].Counter == 0
}

// awaitReceived returns when the recorder has everything that was sent: a real node takes far longer to restart than
// its last messages take to arrive.
func (tp *tape) awaitReceived(t *testing.T, sent int64) {
	t.Helper()
	again := time.NewTicker(time.Millisecond)
	defer again.Stop()
	giveUp := time.After(20 * time.Second)
	for tp.recorder.notifications.Load() < sent {
		select {
		case <-again.C:
		case <-giveUp:
			t.Fatalf("got %d of %d notifications after 20 s", tp.recorder.notifications.Load(), sent)
		}
	}
}

// awaitResponse waits for RPC responses at times: above all after each restart before any notification, as a real node
// takes its time to start.
func (tp *tape) awaitResponse(t *testing.T, n int, line transcript.Line) {
	t.Helper()
	switch {
	case tp.spy == nil:
	case line.Method == replay.Restart:
		tp.spy.await(t, func(number uint64) bool { return number == 1 })
	case n%100 == 0:
		tp.spy.await(t, func(uint64) bool { return true })
	}
}

func published(lines []transcript.Line) (zmq []transcript.Line) {
	for _, l := range lines {
		if l.Topic != "" {
			zmq = append(zmq, l)
		}
	}
	return zmq
}

func count(lines []transcript.Line, method string) int {
	n := 0
	for _, l := range lines {
		if l.Method == method {
			n++
		}
	}
	return n
}

// compare checks that the notifications of both are the same, and that the recording agrees with its own responses.
func compare(t *testing.T, got, want []transcript.Line) {
	t.Helper()
	g, w := published(got), published(want)
	for i := range w {
		if g[i].Topic != w[i].Topic || g[i].Counter != w[i].Counter || !bytes.Equal(g[i].Body, w[i].Body) {
			t.Fatalf("notification %d: got %s %d, want %s %d", i, g[i].Topic, g[i].Counter, w[i].Topic, w[i].Counter)
		}
	}
	agrees(t, got)
}

// agrees checks that a recording agrees with its own responses.
func agrees(t *testing.T, lines []transcript.Line) {
	t.Helper()
	n, err := replay.NewNode(replay.NodeOptions{Endpoint: "tcp://127.0.0.1:*", Log: slog.New(slog.DiscardHandler)}, lines)
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	for ok := true; ok; {
		if _, ok, err = n.Step(replay.Drop); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRun_RecordsWhatReplayPlays(t *testing.T) {
	for name, of := range map[string]func(t *testing.T) []transcript.Line{
		"simulated": func(*testing.T) []transcript.Line { return simnode.Lines(11, 1000) },
		"real":      realLife,
	} {
		t.Run(name, func(t *testing.T) {
			lines := of(t)
			got := roll(t, lines, true, GB, io.Discard).play(t, lines)
			compare(t, got, lines)
			for _, method := range []string{"getzmqnotifications", "getnetworkinfo", "getblockchaininfo", "getblockheader", "getrawmempool"} {
				if count(got, method) == 0 {
					t.Errorf("got no response to %s, want one", method)
				}
			}
			t.Logf("%d notifications, %d mempools", len(published(got)), count(got, "getrawmempool"))
		})
	}
}

// TestRun_EachRotatedFileReplays records more than fits.
func TestRun_EachRotatedFileReplays(t *testing.T) {
	lines := simnode.Lines(14, 1000)
	tp := roll(t, lines, true, 2*MB, io.Discard)
	tp.play(t, lines)
	for _, files := range [][]string{{tp.out}, {tp.out + ".1"}, {tp.out + ".1", tp.out}} {
		got, err := transcript.ReadFiles(files...)
		if err != nil {
			t.Fatal(err)
		}
		agrees(t, got)
	}
}

func realLife(t *testing.T) []transcript.Line {
	t.Helper()
	lines, err := transcript.ReadFiles(testblock.Data(t, "bitcoind/zmq.jsonl"), testblock.Data(t, "bitcoind/rpc.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

func TestRun_WarnsWithoutRPC(t *testing.T) {
	lines := simnode.Lines(12, 200)
	var log bytes.Buffer
	got := roll(t, lines, false, GB, &log).play(t, lines)
	compare(t, got, lines)
	if len(got) != len(published(got)) {
		t.Error("got responses in the recording, want none")
	}
	if !strings.Contains(log.String(), "without RPC the recording lacks the mempool") {
		t.Errorf("got the log %s, want the warning", log.String())
	}
}

func TestRun_ContinuesWhenRPCFails(t *testing.T) {
	lines := simnode.Lines(13, 200)
	var log logtest.Log
	tp := roll(t, lines, true, GB, &log)
	tp.node.Fail(func(method string) *replay.RPCError {
		if method == "getblockheader" {
			return &replay.RPCError{Code: -1, Message: "the disk failed"}
		}
		return nil
	})
	compare(t, tp.play(t, lines), lines)
	if !strings.Contains(log.String(), "the disk failed") {
		t.Errorf("got the log %s, want the warning", log.String())
	}
}

// A largeCaller returns a result large enough to fill a file.
type largeCaller struct{ size int }

func (a largeCaller) Call(_ context.Context, method string, _ ...any) (json.RawMessage, error) {
	return json.Marshal(method + strings.Repeat("x", a.size))
}

// TestRun_RotatedFileStartsWithBaseline writes notifications until the file is rotated.
func TestRun_RotatedFileStartsWithBaseline(t *testing.T) {
	o := Options{ZMQ: []string{"tcp://127.0.0.1:1"}, RPC: largeCaller{10}, MaxSize: 200_000,
		Out: filepath.Join(t.TempDir(), "it.jsonl"), Log: slog.New(slog.DiscardHandler)}
	r := newRecorder(o)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.run(ctx) }()
	for i := range 1000 {
		r.messages <- zmqsub.Message{At: time.Now(), Frames: [][]byte{[]byte("rawtx"), make([]byte, 100), {byte(i), byte(i >> 8), 0, 0}}}
	}
	again := time.NewTicker(time.Millisecond)
	defer again.Stop()
	for _, err := os.Stat(o.Out + ".1"); err != nil; _, err = os.Stat(o.Out + ".1") {
		<-again.C
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{o.Out, o.Out + ".1"} {
		lines, err := transcript.ReadFiles(name)
		if err != nil {
			t.Fatal(err)
		}
		if name == o.Out && count(lines, "getrawmempool") == 0 {
			t.Errorf("%s: got no mempool, want one", name)
		}
	}
}

func TestRun_RejectsBadOptions(t *testing.T) {
	good := Options{ZMQ: []string{"tcp://127.0.0.1:1"}, MaxSize: GB, Out: filepath.Join(t.TempDir(), "it.jsonl"), Log: slog.New(slog.DiscardHandler)}
	small, nowhere, endpoint := good, good, good
	small.MaxSize = 1
	nowhere.Out = filepath.Join(t.TempDir(), "no", "it.jsonl")
	endpoint.ZMQ = []string{"here"}
	for want, o := range map[string]Options{
		"a size of 1 bytes: want 10MB or more": small,
		"no such file or directory":            nowhere,
		`ZMQ endpoint "here": want`:            endpoint,
	} {
		if err := Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error with %q", err, want)
		}
	}
}

func TestRun_EndsOnFullDisk(t *testing.T) {
	r := newRecorder(Options{ZMQ: []string{"tcp://127.0.0.1:1"}, MaxSize: GB, Out: "/dev/full", Log: slog.New(slog.DiscardHandler)})
	r.messages <- zmqsub.Message{At: time.Now(), Frames: [][]byte{[]byte("rawtx"), make([]byte, 100_000), make([]byte, 4)}}
	err := r.run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "/dev/full") {
		t.Errorf("got %v, want an error with the path", err)
	}
}

func TestSize_UnmarshalText(t *testing.T) {
	for text, want := range map[string]Size{
		"0": 0, "500": 500, "500B": 500, "500MB": 500 * MB, "1.5GB": 1500 * MB, "1GiB": 1 << 30, "2 kb": 2000, "1KiB": 1024, "1tb": 1000 * GB,
	} {
		var got Size
		if err := got.UnmarshalText([]byte(text)); err != nil || got != want {
			t.Errorf("%q: got %v %v, want %d", text, int64(got), err, int64(want))
		}
	}
	for _, text := range []string{"", "MB", "-1MB", "1XB", "1e30", "NaN", "1 2MB"} {
		var s Size
		if err := s.UnmarshalText([]byte(text)); err == nil || !strings.Contains(err.Error(), "want a number of bytes") {
			t.Errorf("%q: got %v %v, want an error", text, int64(s), err)
		}
	}
	for s, want := range map[Size]string{GB: "1GB", 500 * MB: "500MB", 1500 * MB: "1500MB", 7: "7 bytes"} {
		if s.String() != want {
			t.Errorf("got %v, want %s", s, want)
		}
	}
}
