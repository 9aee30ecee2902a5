package browser

import (
	"encoding/json"
	"fmt"
	"html"
	"net/http"
	"net/http/httptest"
	"sync"
	"syscall"

	"sightglass/infra/test/internal/programs"
)

// control lets a script change the environment, and is another origin for it.
func (env *environment) control() *httptest.Server {
	mux := http.NewServeMux()
	var one sync.Mutex
	on := func(path string, do func()) {
		mux.HandleFunc("POST "+path, func(http.ResponseWriter, *http.Request) {
			one.Lock()
			defer one.Unlock()
			do()
		})
	}
	on("/edge/kill", func() { end(env, env.edge, syscall.SIGKILL) })
	on("/edge/stop", func() { end(env, env.edge, syscall.SIGTERM) })
	on("/edge/start", env.startEdge)
	on("/node/pause", func() { env.node.Signal(env.t, syscall.SIGSTOP) })
	on("/node/go", func() { env.node.Signal(env.t, syscall.SIGCONT) })
	on("/ingester/stop", func() { end(env, env.ingester, syscall.SIGTERM) })
	on("/ingester/start", env.startIngester)
	mux.HandleFunc("GET /frame", frame)
	mux.HandleFunc("GET /outputs", func(rw http.ResponseWriter, _ *http.Request) {
		if err := json.NewEncoder(rw).Encode(env.outputs); err != nil {
			env.t.Error(err)
		}
	})
	return httptest.NewServer(mux)
}

func end(env *environment, p *programs.Process, signal syscall.Signal) {
	p.Signal(env.t, signal)
	p.Wait()
}

// frame is a page that frames another.
func frame(rw http.ResponseWriter, r *http.Request) {
	rw.Header().Set("Content-Type", "text/html; charset=utf-8")
	fmt.Fprintf(rw, `<!doctype html><title>Another site</title><link rel="icon" href="data:,"><iframe width="400" height="300" src="%s"></iframe>`,
		html.EscapeString(r.FormValue("url")))
}
