//go:build deploy

package proxy

import (
	"fmt"
	"testing"

	"sightglass/infra/test/internal/programs"
)

var haproxy = kind{start: startHAProxy, out: haproxyOut, secure: secureHAProxy, shared: shareHAProxy}

func startHAProxy(t *testing.T, render func(string) string, edges ...string) *balancer {
	t.Helper()
	b := &balancer{addr: programs.FreeAddr(t), tls: programs.FreeAddr(t), ops: programs.FreeAddr(t)}
	config := render(shipped(t, "haproxy/haproxy.cfg", "127.0.0.1:8081", edges[0], "127.0.0.1:8082", edges[1]))
	launch(t, b, "env", "HTTP_BIND="+b.addr, "HTTPS_BIND="+b.tls, "OPS_BIND="+b.ops,
		"haproxy", "-db", "-f", write(t, "haproxy.cfg", config))
	programs.Until(t, "haproxy's checks of both edges", func() bool { return !haproxyOut(t, b, 0) && !haproxyOut(t, b, 1) })
	return b
}

func haproxyOut(t *testing.T, b *balancer, edge int) bool {
	t.Helper()
	return metric(t, b.ops, fmt.Sprintf(`haproxy_server_status{proxy="edges",server="edge%d",state="UP"} `, edge+1)) == 0
}

// secureHAProxy sets the variable that the unchanged file requires.
func secureHAProxy(t *testing.T, certificate, key string) func(string) string {
	t.Setenv("TLS_CERT", write(t, "both.pem", certificate+key))
	return asShipped
}
