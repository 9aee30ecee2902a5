package ingester

import (
	"net/http"
	"sync/atomic"
	"time"

	"sightglass/shared/snapshot"
)

// deadAfter is how long the engine may compute nothing before probes say so: three times the longest interval.
const deadAfter = 30 * time.Second

// A pulse is what probes may know of the loop that computes. The loop writes it, the probes read it.
type pulse struct {
	beat atomic.Int64 // when a snapshot was computed last, unix nanoseconds; 0 before the first
	live atomic.Bool  // that one had a price that can be believed
}

// beat notes that a snapshot was computed.
func (in *Ingester) beat(now time.Time) {
	in.pulse.beat.Store(now.UnixNano())
	in.pulse.live.Store(in.engine.snapshot.Status == snapshot.Live)
	if in.opts.Alive != nil {
		in.opts.Alive()
	}
}

// serveLive answers 503 if the engine hangs: only a new process helps then.
func (in *Ingester) serveLive(w http.ResponseWriter, _ *http.Request) {
	last := in.pulse.beat.Load()
	if last != 0 && time.Since(time.Unix(0, last)) > deadAfter {
		http.Error(w, "the engine has computed nothing for over 30 s", http.StatusServiceUnavailable)
		return
	}
	ok(w)
}

// serveReady answers 503 until there is a price: one that could not take over yet is not to be the only one.
func (in *Ingester) serveReady(w http.ResponseWriter, _ *http.Request) {
	if !in.pulse.live.Load() {
		http.Error(w, "warming: too little evidence for a price yet", http.StatusServiceUnavailable)
		return
	}
	ok(w)
}

func ok(w http.ResponseWriter) {
	w.Write([]byte("ok\n")) //nolint:errcheck // whoever asked is gone then
}
