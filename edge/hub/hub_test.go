package hub_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/fasthttp/websocket"
	"github.com/gofiber/fiber/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"golang.org/x/sync/errgroup"

	"sightglass/edge/feed"
	"sightglass/edge/hub"
	"sightglass/edge/internal/edgetest"
	"sightglass/edge/ws"
	"sightglass/shared/contract"
)

// frame makes an update with a snapshot of the given number of points.
func frame(t testing.TB, seq uint64, points int) *feed.Update {
	t.Helper()
	s := &contract.Snapshot{
		Price: 5313.57, Status: contract.Live, Seq: seq, Epoch: "1",
		Transactions: make([]contract.Point, points),
	}
	f, err := feed.NewUpdate(s.AppendJSON(nil), nil)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// serve runs a hub behind a real server and returns the URL.
func serve(t testing.TB, o hub.Options) (*hub.Hub, string, *prometheus.Registry) {
	t.Helper()
	return serveLogged(t, o, slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelInfo})))
}

func serveLogged(t testing.TB, o hub.Options, log *slog.Logger) (*hub.Hub, string, *prometheus.Registry) {
	t.Helper()
	o.Log = log
	reg := prometheus.NewRegistry()
	h := hub.New(o, reg)
	app := fiber.New(fiber.Config{DisableStartupMessage: true})
	app.Server().KeepHijackedConns = true
	app.Get("/", ws.Handler(hub.DeltaProtocol, o.Log, func(_ *ws.Handshake, conn *ws.Conn) { h.ServeWebSocket(conn, loopback) }))
	ln, err := (&net.ListenConfig{Control: smallBuffer}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var running errgroup.Group
	running.Go(func() error { h.Run(ctx); return nil })
	running.Go(func() error { return app.Listener(ln) })
	t.Cleanup(func() {
		h.Drain(0, 0) // disconnects the remaining clients
		stop()
		if err := errors.Join(app.Shutdown(), running.Wait()); err != nil {
			t.Error(err)
		}
	})
	return h, "ws://" + ln.Addr().String() + "/", reg
}

var loopback = netip.MustParseAddr("127.0.0.1")

// smallBuffer limits the kernel's send buffer per client, as the edge does.
func smallBuffer(_, _ string, raw syscall.RawConn) error {
	var failed error
	err := raw.Control(func(fd uintptr) {
		failed = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_SNDBUF, 64<<10)
	})
	return errors.Join(err, failed)
}

func patient() hub.Options {
	return hub.Options{MaxPerAddress: 100, MaxClients: 100, PingInterval: time.Minute, WriteTimeout: time.Minute}
}

func dial(t testing.TB, url string, compressed bool) *websocket.Conn {
	t.Helper()
	conn, answer, err := (&websocket.Dialer{EnableCompression: compressed}).Dial(url, nil)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	t.Cleanup(func() { conn.Close() })
	return conn
}

// read returns the next message, or the hub's close code.
func read(t testing.TB, conn *websocket.Conn) (message string, code int) {
	t.Helper()
	if err := conn.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	_, data, err := conn.ReadMessage()
	if closed, ok := errors.AsType[*websocket.CloseError](err); ok {
		return "", closed.Code
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(data), 0
}

func expect(t testing.TB, conn *websocket.Conn, f *feed.Update) {
	t.Helper()
	if got, code := read(t, conn); got != string(f.JSON) {
		t.Fatalf("got %.80q (closed %d), want %.80q", got, code, f.JSON)
	}
}

func TestHub_SendsNewestAtOnceThenEach(t *testing.T) {
	for name, compressed := range map[string]bool{"plain": false, "compressed": true} {
		t.Run(name, func(t *testing.T) {
			h, url, _ := serve(t, patient())
			first, second := frame(t, 1, 1000), frame(t, 2, 1000)
			h.Broadcast(first)
			conn := dial(t, url, compressed)
			expect(t, conn, first)
			h.Broadcast(second)
			expect(t, conn, second)
		})
	}
}

func TestHub_ClientBeforeFirstSnapshot(t *testing.T) {
	h, url, _ := serve(t, patient())
	conn := dial(t, url, false)
	edgetest.Until(t, "the client to join", func() bool { return h.Len() == 1 })
	f := frame(t, 1, 0)
	h.Broadcast(f)
	expect(t, conn, f)
}

// TestHub_SlowClientSkipsToNewest: a client that pauses reading gets the frames in the kernel's buffers and then the
// newest one, while another client gets every frame.
func TestHub_SlowClientSkipsToNewest(t *testing.T) {
	h, url, reg := serve(t, patient())
	slow, quick := dial(t, url, false), dial(t, url, false)
	const last = 500
	for seq := uint64(1); seq <= last; seq++ {
		f := frame(t, seq, 1000) // 40 kB: hundreds of them exceed any buffer
		h.Broadcast(f)
		expect(t, quick, f)
	}
	newest, got, messages := string(frame(t, last, 1000).JSON), "", 0
	for got != newest {
		got, _ = read(t, slow)
		messages++
	}
	if messages == last {
		t.Error("got every frame at the slow client, want some skipped")
	}
	if skipped, err := testutil.GatherAndCount(reg, "sightglass_client_skipped_total"); err != nil || skipped != 1 {
		t.Errorf("got no skipped frames counted, want some: %v", err)
	}
}

// TestHub_PingsSilentClient: without frames the hub pings a client, so that the client and proxies keep the connection,
// and keeps it as long as it answers.
func TestHub_PingsSilentClient(t *testing.T) {
	o := patient()
	o.PingInterval = 250 * time.Millisecond
	h, url, _ := serve(t, o)
	conn := dial(t, url, false)
	edgetest.Until(t, "the client to join", func() bool { return h.Len() == 1 })
	var pings atomic.Int32
	answer := conn.PingHandler()
	conn.SetPingHandler(func(data string) error { pings.Add(1); return answer(data) })
	f := frame(t, 1, 0)
	go func() { // a client without pongs would be closed by the third
		edgetest.Until(t, "four pings", func() bool { return pings.Load() >= 4 })
		h.Broadcast(f)
	}()
	expect(t, conn, f)
}

func TestHub_DisconnectsClientThatAcceptsNothing(t *testing.T) {
	o := patient()
	o.WriteTimeout = 100 * time.Millisecond
	h, url, reg := serve(t, o)
	dial(t, url, false) // never reads
	edgetest.Until(t, "the client to join", func() bool { return h.Len() == 1 })
	for seq := uint64(1); h.Len() > 0; seq++ {
		h.Broadcast(frame(t, seq, 1000))
	}
	expectClosed(t, reg, "4008")
}

func TestHub_DisconnectsClientThatAnswersNoPings(t *testing.T) {
	o := patient()
	o.PingInterval = 50 * time.Millisecond
	h, url, reg := serve(t, o)
	dial(t, url, false) // reads nothing, so it answers no ping
	edgetest.Until(t, "the client to join and be dropped", func() bool {
		return gauge(t, reg, "sightglass_client_closed_total") == 1 && h.Len() == 0
	})
	expectClosed(t, reg, "4008")
}

// expectClosed waits until one connection has ended with the code.
func expectClosed(t testing.TB, reg *prometheus.Registry, code string) {
	t.Helper()
	const name = "sightglass_client_closed_total"
	edgetest.Until(t, "one closed with "+code, func() bool {
		return labelled(t, reg, name, code) == 1 && gauge(t, reg, name) == 1
	})
}

func TestHub_EnforcesLimits(t *testing.T) {
	for name, c := range map[string]struct {
		perAddress, inAll, want int
	}{
		"an address": {1, 100, 4029},
		"the edge":   {100, 1, 4030},
	} {
		t.Run(name, func(t *testing.T) {
			o := patient()
			o.MaxPerAddress, o.MaxClients = c.perAddress, c.inAll
			h, url, _ := serve(t, o)
			first := dial(t, url, false)
			edgetest.Until(t, "the first to join", func() bool { return h.Len() == 1 })
			if _, code := read(t, dial(t, url, false)); code != c.want {
				t.Errorf("the second: got close code %d, want %d", code, c.want)
			}
			first.Close()
			edgetest.Until(t, "the first to leave", func() bool { return h.Len() == 0 })
			f := frame(t, 1, 0)
			h.Broadcast(f)
			expect(t, dial(t, url, false), f)
		})
	}
}

func TestDrain_ClosesEveryClientWith1001(t *testing.T) {
	h, url, _ := serve(t, patient())
	clients := []*websocket.Conn{dial(t, url, false), dial(t, url, true)}
	edgetest.Until(t, "both to join", func() bool { return h.Len() == 2 })
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		h.Drain(0, time.Minute)
	}()
	for _, conn := range clients {
		if _, code := read(t, conn); code != websocket.CloseGoingAway {
			t.Errorf("got close code %d, want 1001", code)
		}
	}
	<-drained
	if _, code := read(t, dial(t, url, false)); code != websocket.CloseGoingAway {
		t.Errorf("a later client: got close code %d, want 1001", code)
	}
}

func TestDrain_DisconnectsClientsThatStay(t *testing.T) {
	h, url, _ := serve(t, patient())
	dial(t, url, false) // reads nothing, so it does not answer the close frame
	edgetest.Until(t, "the client to join", func() bool { return h.Len() == 1 })
	h.Drain(0, 50*time.Millisecond)
	if n := h.Len(); n != 0 {
		t.Errorf("got %d clients after the drain, want none", n)
	}
}
