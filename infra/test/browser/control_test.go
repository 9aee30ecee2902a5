package browser

import (
	"encoding/json"
	"fmt"
	"html"
	"net/http"
	"net/http/httptest"
	"sync"
	"syscall"

	"github.com/redis/go-redis/v9"

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
	mux.HandleFunc("POST /history", env.addHistory)
	mux.HandleFunc("GET /frame", frame)
	mux.HandleFunc("GET /outputs", func(rw http.ResponseWriter, _ *http.Request) {
		if err := json.NewEncoder(rw).Encode(env.outputs); err != nil {
			env.t.Error(err)
		}
	})
	return httptest.NewServer(mux)
}

// addHistory adds rows to the history in Redis: {key: [{score, row}]}.
func (env *environment) addHistory(_ http.ResponseWriter, r *http.Request) {
	var all map[string][]struct {
		Score float64
		Row   json.RawMessage
	}
	if err := json.NewDecoder(r.Body).Decode(&all); err != nil {
		env.t.Error(err)
	}
	client := env.redis.Client()
	for key, rows := range all {
		members := make([]redis.Z, len(rows))
		for i, row := range rows {
			members[i] = redis.Z{Score: row.Score, Member: string(row.Row)}
		}
		if err := client.ZAdd(r.Context(), key, members...).Err(); err != nil {
			env.t.Error(err)
		}
	}
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
