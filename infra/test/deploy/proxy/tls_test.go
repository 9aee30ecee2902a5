//go:build deploy

package proxy

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"sightglass/infra/test/internal/programs"
	"sightglass/infra/test/internal/wstest"
)

// TestBalancer_HTTPS: with a certificate, set up as the files describe, the stream uses TLS and HTTP redirects to it.
func TestBalancer_HTTPS(t *testing.T) {
	program := programs.Build(t, "edge", "edge")
	certificate, key, trust := makeCertificate(t)
	for name, kind := range map[string]kind{"haproxy": haproxy, "nginx": nginx} {
		t.Run(name, func(t *testing.T) {
			env := newEnvironment(t, program, kind, kind.secure(t, certificate, key), nil)
			client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: trust}, ForceAttemptHTTP2: true}}
			defer client.CloseIdleConnections()
			page, err := client.Get("https://" + env.lb.tls + "/")
			if err != nil {
				t.Fatal(err)
			}
			page.Body.Close()
			if page.StatusCode != http.StatusOK || page.ProtoMajor != 2 {
				t.Errorf("got the page with %s by %s, want 200 by HTTP/2", page.Status, page.Proto)
			}
			conn, _, err := wstest.Dial(t, "wss://"+env.lb.tls+"/ws/mempool", nil, websocket.DialOptions{
				HTTPClient: &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: trust}}},
				HTTPHeader: http.Header{"Origin": {"https://" + env.lb.tls}}, Subprotocols: []string{delta},
			})
			if err != nil {
				t.Fatal(err)
			}
			follow(t, conn, true)
			plain := fetch(t, env.lb.addr, "/clock?x=1", http.Header{})
			host, _, _ := net.SplitHostPort(env.lb.addr)
			to := plain.header.Get("Location")
			if plain.status != http.StatusPermanentRedirect || !strings.HasPrefix(to, "https://"+host) || !strings.HasSuffix(to, "/clock?x=1") {
				t.Errorf("plain HTTP: got %d to %q, want 308 to HTTPS", plain.status, to)
			}
		})
	}
}

// TestBalancer_ForwardedHeaders: a recording server replaces the edges.
func TestBalancer_ForwardedHeaders(t *testing.T) {
	certificate, key, trust := makeCertificate(t)
	for name, kind := range map[string]kind{"haproxy": haproxy, "nginx": nginx} {
		t.Run(name, func(t *testing.T) {
			received := make(chan *http.Request, 100)
			server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/record" {
					received <- r
				}
			}))
			defer server.Close()
			addr := server.Listener.Addr().String()
			lb := kind.start(t, kind.secure(t, certificate, key), addr, addr)
			transport := wstest.TransportFrom(source(0))
			transport.TLSClientConfig = &tls.Config{RootCAs: trust}
			request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+lb.tls+"/record", nil)
			if err != nil {
				t.Fatal(err)
			}
			request.Header.Set("X-Forwarded-For", "203.0.113.1")
			request.Header.Set("X-Forwarded-Proto", "gopher")
			answer, err := transport.RoundTrip(request)
			if err != nil {
				t.Fatal(err)
			}
			answer.Body.Close()
			got := <-received
			from := strings.Join(got.Header.Values("X-Forwarded-For"), ", ")
			if want := "203.0.113.1, " + source(0).String(); from != want {
				t.Errorf("got X-Forwarded-For %q, want %q", from, want)
			}
			if proto := got.Header.Values("X-Forwarded-Proto"); len(proto) != 1 || proto[0] != "https" {
				t.Errorf("got X-Forwarded-Proto %q, want https", proto)
			}
			if got.Host != lb.tls {
				t.Errorf("got Host %q, want %q", got.Host, lb.tls)
			}
		})
	}
}

// makeCertificate makes a certificate for 127.0.0.1, as PEM, and the pool that trusts it.
func makeCertificate(t *testing.T) (certificate, key string, trust *x509.CertPool) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	certificate = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	trust = x509.NewCertPool()
	trust.AppendCertsFromPEM([]byte(certificate))
	return certificate, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})), trust
}

// TestBalancer_ShippedFilesAreValid by the programs' own checks, without a warning, unchanged and changed for HTTPS.
func TestBalancer_ShippedFilesAreValid(t *testing.T) {
	certificate, key, _ := makeCertificate(t)
	for name, c := range map[string]struct {
		secure bool
		edges  string
	}{"HTTP": {}, "HTTPS": {secure: true}, "by DNS": {edges: "edge:8080"}, "by DNS, HTTPS": {true, "edge:8080"}} {
		t.Run("haproxy, "+name, func(t *testing.T) {
			if c.edges != "" {
				t.Setenv("EDGES", c.edges)
			}
			if c.secure {
				secureHAProxy(t, certificate, key)
			}
			expectValid(t, "haproxy", "-c", "-dW", "-f", "../../../haproxy/haproxy.cfg")
		})
	}
	for name, render := range map[string]func(string) string{"HTTP": asShipped, "HTTPS": secureNginx(t, certificate, key)} {
		t.Run("nginx, "+name, func(t *testing.T) {
			config := shipped(t, "nginx/nginx.conf", "/run/nginx.pid", write(t, "nginx.pid", ""), "/var/log/nginx/error.log", "stderr",
				"/var/log/nginx/access.log", "/dev/null")
			expectValid(t, "nginx", "-t", "-c", write(t, "nginx.conf", render(config)))
		})
	}
}

func expectValid(t *testing.T, program string, args ...string) {
	t.Helper()
	out, err := exec.Command(program, args...).CombinedOutput()
	if err != nil || strings.Contains(strings.ToLower(string(out)), "warn") {
		t.Errorf("%s %v: got %v, want a valid configuration without a warning:\n%s", program, args, err, out)
	}
}
