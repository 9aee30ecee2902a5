package bitcoind

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/cenkalti/backoff/v5"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

var discard = log.New(io.Discard, "", 0)

// respond responds to every request with a status and a body.
func respond(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}
}

// fails is bitcoind's response for an error.
func fails(code int, message string) http.HandlerFunc {
	return respond(http.StatusInternalServerError, fmt.Sprintf(`{"result":null,"error":{"code":%d,"message":%q},"id":1}`+"\n", code, message))
}

// dies announces more than it sends and closes the connection.
func dies(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Length", "1000")
	fmt.Fprint(w, `{"result":"000000`)
	_ = http.NewResponseController(w).Flush()
	panic(http.ErrAbortHandler)
}

// resets closes the connection with a RST before any response.
func resets(w http.ResponseWriter, _ *http.Request) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err == nil {
		_ = conn.(*net.TCPConn).SetLinger(0)
		conn.Close()
	}
}

func TestClient_ErrorKinds(t *testing.T) {
	for name, c := range map[string]struct {
		handler http.HandlerFunc
		kind    error
		outcome string
		tries   int
		want    []string // in the error
	}{
		"wrong password":    {respond(401, ""), ErrCredentials, "credentials", 1, []string{"HTTP 401", "--rpc-cookie", "--rpc-user"}},
		"address":           {respond(403, ""), ErrForbidden, "forbidden", 1, []string{"rpcallowip=", "rpcwhitelist="}},
		"starting":          {fails(-28, "Loading block index…"), ErrWarmingUp, "warming_up", 4, []string{"Loading block index…"}},
		"busy":              {respond(503, "Work queue depth exceeded"), ErrBusy, "busy", 4, []string{"Work queue depth exceeded", "rpcworkqueue="}},
		"busy, old":         {respond(500, "Work queue depth exceeded"), ErrBusy, "busy", 4, []string{"rpcworkqueue="}},
		"pruned":            {fails(-1, "Block not available (pruned data)"), ErrPruned, "pruned", 1, []string{"Block not available", "prune="}},
		"not found":         {fails(-5, "Block not found"), ErrNotFound, "not_found", 1, []string{"getblock: not found: Block not found (RPC error -5)"}},
		"no method":         {respond(404, `{"result":null,"error":{"code":-32601,"message":"Method not found"},"id":1}`), ErrMethod, "method", 1, []string{"too old", "ZMQ"}},
		"another":           {fails(-8, "Block height out of range\nand help"), nil, "rpc_error", 1, []string{"getblock: Block height out of range (RPC error -8)"}},
		"error, no id":      {respond(400, `{"result":null,"error":{"code":-32700,"message":"Parse error"},"id":null}`), nil, "rpc_error", 1, []string{"Parse error"}},
		"error, 2.0":        {respond(200, `{"jsonrpc":"2.0","error":{"code":-5,"message":"Block not found"},"id":1}`), ErrNotFound, "not_found", 1, nil},
		"HTML page":         {respond(200, "<html><body>Welcome to nginx!"), ErrResponse, "answer", 1, []string{"<html><body>Welcome", "--rpc"}},
		"no such path":      {respond(404, "404 page not found"), ErrResponse, "answer", 1, []string{"HTTP 404", "404 page not found"}},
		"redirect":          {http.RedirectHandler("http://127.0.0.1:1/", http.StatusTemporaryRedirect).ServeHTTP, ErrResponse, "answer", 1, []string{"HTTP 307"}},
		"bad gateway":       {respond(502, "<html>Bad Gateway"), ErrUnreachable, "unreachable", 4, []string{"502 Bad Gateway"}},
		"JSON, not RPC":     {respond(200, `{"status":"ok"}`), ErrResponse, "answer", 1, []string{"another call", `{\"status\":\"ok\"}`}},
		"other JSON":        {respond(200, `"hello"`), ErrResponse, "answer", 1, []string{"hello"}},
		"empty":             {respond(200, ""), ErrResponse, "answer", 1, []string{"response is empty"}},
		"wrong id":          {respond(200, `{"result":"00","error":null,"id":2}`), ErrResponse, "answer", 1, []string{"another call"}},
		"id is a string":    {respond(200, `{"result":"00","error":null,"id":"1"}`), ErrResponse, "answer", 1, nil},
		"two responses":     {respond(200, `{"result":"00","error":null,"id":1}{}`), ErrResponse, "answer", 1, []string{"data after the end"}},
		"half a response":   {respond(200, `{"result":"0000`), ErrResponse, "answer", 1, []string{"response is truncated"}},
		"half of its JSON":  {respond(500, `{"result":null,"err`), ErrResponse, "answer", 1, []string{"response is truncated", "HTTP 500"}},
		"cut off":           {dies, ErrUnreachable, "unreachable", 4, []string{"unexpected EOF"}},
		"reset":             {resets, ErrUnreachable, "unreachable", 4, []string{"reset"}},
		"too large":         {respond(200, `{"result":"`+strings.Repeat("0", 5000)), ErrResponse, "answer", 1, []string{"larger than 4000 bytes"}},
		"too large at once": {respond(200, strings.Repeat(" ", 200_000)), ErrResponse, "answer", 1, []string{"larger than 4000 bytes"}},
	} {
		t.Run(name, func(t *testing.T) {
			var tries atomic.Int32
			s := serve(t, func(w http.ResponseWriter, r *http.Request) {
				tries.Add(1)
				_, _ = io.Copy(io.Discard, r.Body)
				c.handler(w, r)
			})
			client := open(t, Options{URL: strings.Replace(s.URL, "//", "//"+user+":"+password+"@", 1)})
			client.maxResponse = 4000
			_, err := client.Block(t.Context(), chainhash.Hash{})
			checkKind(t, err, c.kind, c.want)
			if got := int(tries.Load()); got != c.tries {
				t.Errorf("got %d tries, want %d", got, c.tries)
			}
			if n := testutil.ToFloat64(client.metrics.calls.WithLabelValues("getblock", c.outcome)); n != 1 {
				t.Errorf("got %v calls counted as %s, want 1", n, c.outcome)
			}
		})
	}
}

// checkKind checks that an error is of exactly this kind, or an *Error of none, and contains the texts and not the
// password.
func checkKind(t *testing.T, err, kind error, want []string) {
	t.Helper()
	if err == nil {
		t.Fatal("got no error, want one")
	}
	for _, k := range []error{
		ErrUnreachable, ErrBusy, ErrWarmingUp, ErrCredentials, ErrForbidden, ErrPruned, ErrNotFound, ErrResponse, ErrMethod,
	} {
		if errors.Is(err, k) != errors.Is(kind, k) {
			t.Errorf("got %v, want the kind alone; it is also a %q: %v", err, k, errors.Is(err, k))
		}
	}
	for _, text := range want {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("got %v\nwant it to contain %q", err, text)
		}
	}
	if strings.Contains(err.Error(), password) || strings.ContainsAny(err.Error(), "\r\n") {
		t.Errorf("got the password or several lines in %v, want neither", err)
	}
}

func TestError_NamesMethod(t *testing.T) {
	c := open(t, Options{URL: serve(t, fails(-8, "no\nhelp")).URL})
	_, err := c.Call(t.Context(), "getblockhash", 1)
	var said *Error
	if !errors.As(err, &said) || *said != (Error{"getblockhash", -8, "no\nhelp"}) {
		t.Errorf("got %+v of %v, want the method and the node's error", said, err)
	}
	c = open(t, Options{URL: serve(t, fails(-28, "Verifying")).URL})
	if _, err = c.Network(t.Context()); !errors.As(err, &said) || said.Code != -28 || said.Method != "getnetworkinfo" {
		t.Errorf("got %+v of %v, want the method and the node's error", said, err)
	}
}

func TestError_QuotesStartOfBody(t *testing.T) {
	c := open(t, Options{URL: serve(t, respond(200, `["the beginning"`+strings.Repeat(" ", 1<<20)+`,"the end"]`)).URL})
	_, err := c.Network(t.Context())
	checkKind(t, err, ErrResponse, []string{`[\"the beginning\"`})
}

// TestClient_DetectsOtherPorts: the port is not that of an HTTP server.
func TestClient_DetectsOtherPorts(t *testing.T) {
	for name, c := range map[string]struct {
		greeting string
		kind     error
	}{
		"ZMQ":               {"\xff\x00\x00\x00\x00\x00\x00\x00\x01\x7f", ErrResponse},
		"P2P, which closes": {"", ErrUnreachable},
	} {
		t.Run(name, func(t *testing.T) {
			listener := listen(t, "127.0.0.1:0")
			go func() {
				for {
					conn, err := listener.Accept()
					if err != nil {
						return
					}
					_, _ = conn.Read(make([]byte, 1<<10))
					_, _ = io.WriteString(conn, c.greeting)
					conn.Close()
				}
			}()
			_, err := open(t, Options{URL: "http://" + listener.Addr().String()}).Network(t.Context())
			checkKind(t, err, c.kind, []string{"is --rpc "})
		})
	}
	t.Run("https to http", func(t *testing.T) {
		s := serve(t, respond(200, ""))
		_, err := open(t, Options{URL: strings.Replace(s.URL, "http", "https", 1)}).Network(t.Context())
		checkKind(t, err, ErrResponse, []string{"HTTPS"})
	})
	t.Run("certificate", func(t *testing.T) {
		s := httptest.NewUnstartedServer(respond(200, ""))
		s.Config.ErrorLog = discard
		s.StartTLS()
		t.Cleanup(s.Close)
		_, err := open(t, Options{URL: s.URL}).Network(t.Context())
		checkKind(t, err, ErrResponse, []string{"certificate"})
	})
}

func listen(t testing.TB, address string) net.Listener {
	t.Helper()
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	return listener
}

func TestClient_Unreachable(t *testing.T) {
	listener := listen(t, "127.0.0.1:0")
	listener.Close()
	_, err := open(t, Options{URL: "http://" + listener.Addr().String()}).Network(t.Context())
	checkKind(t, err, ErrUnreachable, []string{"connection refused", "server=1", "--rpc", "18443 regtest"})
}

func TestClient_RetriesUntilNodeIsUp(t *testing.T) {
	listener := listen(t, "127.0.0.1:0")
	listener.Close()
	c := open(t, Options{URL: "http://" + listener.Addr().String()})
	c.newBackOff = func() backoff.BackOff {
		return pause(func() time.Duration {
			s := &httptest.Server{
				Listener: listen(t, listener.Addr().String()),
				Config:   &http.Server{Handler: respond(200, `{"result":{"subversion":"/up/"},"error":null,"id":1}`)},
			}
			s.Start()
			t.Cleanup(s.Close)
			return 0
		})
	}
	if network, err := c.Network(t.Context()); err != nil || network.Version != "/up/" {
		t.Errorf("got %+v, %v; want a response at the second try", network, err)
	}
	if n := testutil.ToFloat64(c.metrics.calls.WithLabelValues("getnetworkinfo", "ok")); n != 1 {
		t.Errorf("got %v calls counted as ok, want 1", n)
	}
}

func TestClient_RetriesWhenBusy(t *testing.T) {
	var tries atomic.Int32
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if tries.Add(1) < maxTries {
			respond(503, "Work queue depth exceeded")(w, r)
			return
		}
		respond(200, `{"result":{"loaded":true},"error":null,"id":1}`)(w, r)
	})
	if loaded, err := open(t, Options{URL: s.URL}).MempoolLoaded(t.Context()); !loaded || err != nil {
		t.Errorf("got %v, %v; want true at the last try", loaded, err)
	}
}

func TestClient_CancelDuringPause(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	c := open(t, Options{URL: serve(t, fails(-28, "Verifying blocks…")).URL})
	c.newBackOff = func() backoff.BackOff {
		return pause(func() time.Duration { cancel(); return 24 * time.Hour })
	}
	_, err := c.Network(ctx)
	if !errors.Is(err, context.Canceled) || !errors.Is(err, ErrWarmingUp) {
		t.Errorf("got %v, want context.Canceled and the reason for the wait", err)
	}
	if n := testutil.ToFloat64(c.metrics.calls.WithLabelValues("getnetworkinfo", "cancelled")); n != 1 {
		t.Errorf("got %v calls counted as cancelled, want 1", n)
	}
}

// hangs does not respond until the client disconnects.
func hangs(asked chan<- struct{}) http.HandlerFunc {
	return func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		asked <- struct{}{}
		<-r.Context().Done()
	}
}

func TestClient_CancelDuringCall(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	asked := make(chan struct{}, 1)
	go func() { <-asked; cancel() }()
	_, err := open(t, Options{URL: serve(t, hangs(asked)).URL}).Network(ctx)
	if !errors.Is(err, context.Canceled) || errors.Is(err, ErrUnreachable) {
		t.Errorf("got %v, want context.Canceled alone", err)
	}
}

func TestClient_DeadlineDuringCall(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := open(t, Options{URL: serve(t, hangs(make(chan struct{}, 10))).URL}).Network(ctx)
	checkKind(t, err, ErrUnreachable, []string{"the call did not complete", "is --rpc right?"})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want the error of the caller's context", err)
	}
}

func TestClient_TimeoutAppliesToEachTry(t *testing.T) {
	asked := make(chan struct{}, 10)
	c := open(t, Options{URL: serve(t, hangs(asked)).URL, Timeout: 10 * time.Millisecond})
	_, err := c.Network(t.Context())
	checkKind(t, err, ErrUnreachable, []string{"after 10ms"})
	if errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want no error of the caller's context", err)
	}
}

func TestClient_Backoff(t *testing.T) {
	c, err := New(Options{URL: "http://localhost:1", Cookie: "c"})
	if err != nil {
		t.Fatal(err)
	}
	b := c.newBackOff()
	b.Reset()
	for _, about := range []time.Duration{100, 200, 400, 800, 1600, 2000, 2000} {
		about *= time.Millisecond
		if got := b.NextBackOff(); got < about/2 || got > about*3/2+1 {
			t.Errorf("got a pause of %v, want %v ± 50 %%", got, about)
		}
	}
}

func cookie(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), ".cookie")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func version(string, string) (string, *Error) { return `{"subversion":"/x/"}`, nil }

func TestClient_ReadsCookieForEachTry(t *testing.T) {
	node := newNode(t, version)
	path := cookie(t, user+":"+password+"\n")
	c := open(t, Options{URL: node.URL, Cookie: path})
	if _, err := c.Network(t.Context()); err != nil {
		t.Fatal(err)
	}
	node.set("__cookie__:second")
	if err := os.WriteFile(path, []byte("__cookie__:second"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Network(t.Context()); err != nil {
		t.Errorf("got %v after a restart of the node, want none", err)
	}
	if n := len(node.requests()); n != 2 {
		t.Errorf("got %d tries, want one for each call", n)
	}
}

func TestClient_RereadsRejectedCookieOnce(t *testing.T) {
	node := newNode(t, version)
	node.set("__cookie__:second")
	path := cookie(t, "__cookie__:first")
	c := open(t, Options{URL: node.URL, Cookie: path})
	_, err := c.Network(t.Context())
	checkKind(t, err, ErrCredentials, []string{"HTTP 401"})
	if n := len(node.requests()); n != 2 {
		t.Errorf("got %d tries, want 2", n)
	}
	c.newBackOff = func() backoff.BackOff {
		return pause(func() time.Duration {
			if err := os.WriteFile(path, []byte("__cookie__:second"), 0o600); err != nil {
				t.Error(err)
			}
			return 0
		})
	}
	if _, err := c.Network(t.Context()); err != nil {
		t.Errorf("got %v though the node wrote another cookie between the tries, want none", err)
	}
}

func TestClient_RejectsMalformedCookie(t *testing.T) {
	node := newNode(t, version)
	dir := t.TempDir()
	absent := filepath.Join(dir, "absent")
	for name, c := range map[string]struct{ path, want string }{
		"absent":      {absent, "open " + absent + ": no such file or directory (bitcoind writes"},
		"a directory": {dir, "read " + dir + ": is a directory"},
		"empty":       {cookie(t, ""), "does not hold one line of user:password"},
		"no colon":    {cookie(t, "sesame"), "does not hold one line of user:password"},
		"no user":     {cookie(t, ":sesame"), "does not hold one line of user:password"},
		"no password": {cookie(t, "__cookie__:\n"), "does not hold one line of user:password"},
		"a file":      {cookie(t, "rpcuser:alice\nrpcpassword:sesame\n"), "does not hold one line of user:password"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := open(t, Options{URL: node.URL, Cookie: c.path}).Network(t.Context())
			checkKind(t, err, ErrCredentials, []string{c.want, "--rpc-cookie"})
		})
	}
	if n := len(node.requests()); n != 0 {
		t.Errorf("got %d requests without credentials, want none", n)
	}
}

func TestClient_LimitsConnections(t *testing.T) {
	var connections atomic.Int32
	s := httptest.NewUnstartedServer(http.HandlerFunc(newNode(t, version).handle))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	s.Start()
	t.Cleanup(s.Close)
	c := open(t, Options{URL: s.URL})
	for range 5 {
		if _, err := c.Network(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if n := connections.Load(); n != 1 {
		t.Errorf("got %d connections for successive calls, want 1", n)
	}
	var all sync.WaitGroup
	for range 30 {
		all.Go(func() {
			if _, err := c.Network(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := connections.Load(); n > maxConnections {
		t.Errorf("got %d connections, want at most %d", n, maxConnections)
	}
}

func TestClient_Metrics(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	c := open(t, Options{URL: newNode(t, version).URL, Registerer: reg})
	for range 3 {
		if _, err := c.Network(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	want := `# HELP sightglass_rpc_calls_total Calls and batches to the node's RPC, by method and outcome after retries.
# TYPE sightglass_rpc_calls_total counter
sightglass_rpc_calls_total{method="getnetworkinfo",outcome="ok"} 3
`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "sightglass_rpc_calls_total"); err != nil {
		t.Error(err)
	}
	if n := testutil.CollectAndCount(c.metrics.seconds); n != 1 {
		t.Errorf("got %d histograms, want 1", n)
	}
}
