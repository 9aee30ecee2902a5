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

// control lets a script change the world, and is another origin for it.
func (w *world) control() *httptest.Server {
	mux := http.NewServeMux()
	var one sync.Mutex
	on := func(path string, do func()) {
		mux.HandleFunc("POST "+path, func(http.ResponseWriter, *http.Request) {
			one.Lock()
			defer one.Unlock()
			do()
		})
	}
	on("/edge/kill", func() { end(w, w.edge, syscall.SIGKILL) })
	on("/edge/stop", func() { end(w, w.edge, syscall.SIGTERM) })
	on("/edge/start", w.startEdge)
	on("/node/pause", func() { w.node.Signal(w.t, syscall.SIGSTOP) })
	on("/node/go", func() { w.node.Signal(w.t, syscall.SIGCONT) })
	on("/ingester/stop", func() { end(w, w.ingester, syscall.SIGTERM) })
	on("/ingester/start", w.startIngester)
	mux.HandleFunc("GET /frame", frame)
	mux.HandleFunc("GET /outputs", func(rw http.ResponseWriter, _ *http.Request) {
		if err := json.NewEncoder(rw).Encode(w.outputs); err != nil {
			w.t.Error(err)
		}
	})
	return httptest.NewServer(mux)
}

func end(w *world, p *programs.Process, signal syscall.Signal) {
	p.Signal(w.t, signal)
	p.Wait()
}

// frame is a page that frames another.
func frame(rw http.ResponseWriter, r *http.Request) {
	rw.Header().Set("Content-Type", "text/html; charset=utf-8")
	fmt.Fprintf(rw, `<!doctype html><title>Another site</title><link rel="icon" href="data:,"><iframe width="400" height="300" src="%s"></iframe>`,
		html.EscapeString(r.FormValue("url")))
}
