// Package httpapi serves the edge's HTTP API, except streams and probes: the snapshot, the history, the points and
// the evidence. Each
// body is built and compressed once for all clients.
package httpapi

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/redis/go-redis/v9"
	"golang.org/x/time/rate"

	"sightglass/edge/feed"
	"sightglass/shared/contract"
	"sightglass/shared/history"
)

const jsonType = fiber.MIMEApplicationJSONCharsetUTF8

// An API has a handler for each path. It is safe for concurrent use.
type API struct {
	latest func() *feed.Update // nil before the first
	redis  redis.UniversalClient
	log    *slog.Logger

	snapshot    atomic.Pointer[Response] // of the newest requested update
	points      *cache[[]contract.PointAmount]
	evidence    *cache[[]byte] // JSON; empty if there is none
	series      series
	merging     sync.Mutex        // guards merged, and is held while it is built
	merged      *cached[timeline] // nil before the first request
	rejected    prometheus.Counter
	logRejected rate.Sometimes // keeps a flood of bad entries out of the log
}

// New returns an API that serves the newest update, from latest, and the history, points and evidence in client's Redis. It
// registers its metrics with reg.
func New(latest func() *feed.Update, client redis.UniversalClient, log *slog.Logger, reg prometheus.Registerer) *API {
	with := promauto.With(reg)
	vec := func(name, help string) *prometheus.CounterVec {
		return with.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{"cache"})
	}
	fetches := vec("sightglass_cache_fetches_total", "Times that a cache was fetched from Redis.")
	failures := vec("sightglass_cache_failures_total", "Fetches that failed; the cached value is served meanwhile.")
	a := &API{
		latest: latest, redis: client, log: log,
		rejected: with.NewCounter(prometheus.CounterOpts{
			Name: "sightglass_history_rejected_total", Help: "Invalid rows of the history in Redis that were skipped.",
		}),
		logRejected: rate.Sometimes{Interval: time.Second},
	}
	a.points = newCache(pointsTTL, a.fetchPoints, slices.Equal[[]contract.PointAmount], "points", fetches, failures)
	a.evidence = newCache(evidenceTTL, a.fetchEvidence, bytes.Equal, "evidence", fetches, failures)
	a.series = series{
		newer:  newCache(recentTTL, a.fetchNewer, func(x, y bool) bool { return x == y }, "schema", fetches, failures),
		recent: newCache(recentTTL, read(a, history.Recent), slices.Equal[[]history.Entry], "history", fetches, failures),
		blocks: newCache(coarseTTL, read(a, history.Blocks), slices.Equal[[]history.Block], "blocks", fetches, failures),
		hours:  newCache(coarseTTL, read(a, history.Hours), slices.Equal[[]history.Candle], "hours", fetches, failures),
		days:   newCache(coarseTTL, read(a, history.Days), slices.Equal[[]history.Candle], "days", fetches, failures),
	}
	return a
}

// Snapshot serves /api/v1/snapshot. All requests for the same update share one response, so it is compressed once. Its
// ETag is the same on each edge and is not computed from the body: epoch, seq and status identify a snapshot.
func (a *API) Snapshot(c *fiber.Ctx) error {
	update := a.latest()
	if update == nil {
		return unavailable(c, "no snapshot yet", time.Second)
	}
	s := update.Snapshot
	tag := string(s.Epoch) + "-" + strconv.FormatUint(s.Seq, 10) + "-" + string(s.Status)
	response := a.snapshot.Load()
	if response == nil || response.tag != tag {
		next := &Response{tag: tag, contentType: jsonType, cacheControl: "no-cache", body: update.JSON}
		if a.snapshot.CompareAndSwap(response, next) {
			response = next
		} else {
			response = a.snapshot.Load() // stored by another request, for this update or a newer one
		}
	}
	return response.Send(c)
}

// About returns the response with the operator's notice, and whether the transactions are recorded ones.
func About(notice string, replay bool) *Response {
	body, err := json.Marshal(map[string]any{"notice": notice, "replay": replay})
	if err != nil {
		panic(err) // unreachable: every string has an encoding
	}
	return NewResponse(body, jsonType, "no-cache")
}

// Document returns the response with a description of the API in JSON. Descriptions change with releases only.
func Document(body []byte) *Response { return NewResponse(body, jsonType, "public, max-age=3600") }
