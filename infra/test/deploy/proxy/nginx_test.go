//go:build deploy

package proxy

import (
	"testing"

	"sightglass/infra/test/internal/programs"
)

var nginx = kind{start: startNginx, secure: secureNginx, shared: shareNginx}

func startNginx(t *testing.T, render func(string) string, edges ...string) *balancer {
	t.Helper()
	b := &balancer{addr: programs.FreeAddr(t), tls: programs.FreeAddr(t), ops: programs.FreeAddr(t)}
	config := render(shipped(t, "nginx/nginx.conf",
		"127.0.0.1:8081", edges[0], "127.0.0.1:8082", edges[1],
		"listen 80 ", "listen "+b.addr+" ", "listen [::]:80 ", "#",
		"listen 443 ", "listen "+b.tls+" ", "listen [::]:443 ", "#",
		"listen 127.0.0.1:8404;", "listen "+b.ops+";",
		"/run/nginx.pid", write(t, "nginx.pid", ""), "/var/log/nginx/error.log", "stderr", "/var/log/nginx/access.log", "/dev/stdout"))
	return launch(t, b, "nginx", "-g", "daemon off;", "-c", write(t, "nginx.conf", config))
}

// secureNginx applies the changes that the file describes.
func secureNginx(t *testing.T, certificate, key string) func(string) string {
	return func(config string) string {
		return replace(t, config, "#tls ", "",
			"/etc/ssl/sightglass/fullchain.pem", write(t, "fullchain.pem", certificate),
			"/etc/ssl/sightglass/privkey.pem", write(t, "privkey.pem", key))
	}
}
