package daemon

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

func TestServeInternal_ServesMetricsUntilContextEnds(t *testing.T) {
	reg := prometheus.NewRegistry()
	RegisterProcess(reg, "1.2.3")
	ln, err := ListenInternal("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- ServeInternal(ctx, ln, InternalRoutes(reg)) }()
	answer, err := http.Get("http://" + ln.Addr().String() + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(answer.Body)
	answer.Body.Close()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`sightglass_build_info{goversion="go`, `version="1.2.3"} 1`, "go_goroutines ", "process_open_fds "} {
		if !strings.Contains(string(text), want) {
			t.Errorf("got no %s in /metrics:\n%s", want, text)
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("got %v, want no error after the context has ended", err)
	}
}

func TestListenInternal_Errors(t *testing.T) {
	if ln, err := ListenInternal(""); ln != nil || err != nil {
		t.Errorf("without an address: got %v, %v, want neither", ln, err)
	}
	if _, err := ListenInternal("nowhere"); err == nil || !strings.HasPrefix(err.Error(), "--internal-listen: ") {
		t.Errorf("a wrong address: got %v, want the setting's name", err)
	}
}

func TestHealthCommand_Errors(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("/readyz", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok\n") }) //nolint:errcheck // the client would see the error
	mux.HandleFunc("/away", func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "not connected\nto redis", http.StatusServiceUnavailable)
	})
	server := httptest.NewServer(mux)
	defer server.Close()
	for url, want := range map[string]string{
		server.URL + "/readyz": "",
		server.URL + "/away":   server.URL + "/away: 503 Service Unavailable: not connected to redis",
		"http://127.0.0.1:1":   "no response: ",
		"http://[":             "--url: ",
	} {
		err := (&HealthCommand{URL: url, Timeout: 10 * time.Second}).Run(t.Context())
		if got := message(err); !strings.HasPrefix(got, want) || want == "" && got != "" {
			t.Errorf("%s: got %q, want %q", url, got, want)
		}
	}
}

// TestNotify_SystemdMessages: systemd receives the messages at a datagram socket.
func TestNotify_SystemdMessages(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	systemd, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer systemd.Close()
	if err := systemd.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	t.Setenv("NOTIFY_SOCKET", path)
	expect := func(want string) {
		t.Helper()
		b := make([]byte, 100)
		n, err := systemd.Read(b)
		if got := string(b[:n]); err != nil || got != want {
			t.Fatalf("got %q, %v at systemd's socket, want %q", got, err, want)
		}
	}
	log := NewLogger(os.Stderr, "text", LogLevels{})
	if Watchdog(log) != nil {
		t.Error("got a watchdog without WATCHDOG_USEC, want none")
	}
	t.Setenv("WATCHDOG_USEC", "3600000000")
	alive := Watchdog(log)
	ctx, cancel := context.WithCancel(t.Context())
	NotifyReady(ctx, log)
	expect("READY=1")
	alive()
	alive() // not sent, as a quarter of the interval has not passed
	expect("WATCHDOG=1")
	cancel()
	expect("STOPPING=1")
}
