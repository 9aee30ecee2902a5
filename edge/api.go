package edge

import (
	"encoding/json"
	"strconv"
	"sync/atomic"

	"github.com/gofiber/fiber/v2"

	"sightglass/edge/archive"
	"sightglass/edge/feed"
	"sightglass/edge/spec"
)

const jsonType = fiber.MIMEApplicationJSONCharsetUTF8

// An api is what answers under /api/.
type api struct {
	edge   *Edge
	newest atomic.Pointer[newest]
	past   *past
	cloud  *cloud
}

// newest is the answer to requests for the snapshot, and the update that it was made from.
type newest struct {
	update *feed.Update
	answer answer
}

// mountAPI adds the paths under /api/. Each also answers HEAD, and OPTIONS for browsers that ask before they ask.
func (e *Edge) mountAPI(app *fiber.App) {
	log := e.opts.logger(logArchive)
	a := &api{
		edge:  e,
		past:  &past{archive: archive.New(e.redis, log, e.metrics)},
		cloud: &cloud{points: archive.NewPoints(e.redis, log, e.metrics)},
	}
	app.Use("/api/", e.cors)
	for path, handler := range map[string]fiber.Handler{
		"/api/v1/snapshot":   a.snapshot,
		"/api/v1/history":    a.past.history,
		"/api/v1/points":     a.cloud.answer,
		"/api/v1/about":      about(e.opts.Notice).send,
		"/api/openapi.json":  document(spec.OpenAPI).send,
		"/api/asyncapi.json": document(spec.AsyncAPI).send,
	} {
		app.Get(path, handler)
		app.Options(path, e.preflight)
	}
	app.Get("/api/v1/stream", e.admit, e.events)
	app.Options("/api/v1/stream", e.preflight)
}

// document is the answer with one of our descriptions. They change with releases only.
func document(body []byte) *answer { return fixed(body, jsonType, "public, max-age=3600") }

// about is the answer with what this edge's operator has to say.
func about(notice string) *answer {
	body, err := json.Marshal(map[string]string{"notice": notice})
	if err != nil {
		panic(err) // any text has a JSON
	}
	return fixed(body, jsonType, "no-cache")
}

// snapshot answers /api/v1/snapshot.
func (a *api) snapshot(c *fiber.Ctx) error {
	update := a.edge.feed.Latest()
	if update == nil {
		c.Set(fiber.HeaderRetryAfter, "1")
		return fiber.NewError(fiber.StatusServiceUnavailable, "no snapshot yet")
	}
	return a.answer(update).send(c)
}

// answer gives all requests for the same update the same answer, so that it is compressed once.
func (a *api) answer(update *feed.Update) *answer {
	for {
		old := a.newest.Load()
		if old != nil && old.update == update {
			return &old.answer
		}
		a.newest.CompareAndSwap(old, &newest{update: update, answer: answer{
			tag: snapshotTag(update), contentType: jsonType, cacheControl: "no-cache", body: update.JSON,
		}})
	}
}

// snapshotTag is the same on each edge, and needs no look at the body: an epoch, a seq and a status are one snapshot.
func snapshotTag(u *feed.Update) string {
	s := u.Snapshot
	return string(s.Epoch) + "-" + strconv.FormatUint(s.Seq, 10) + "-" + string(s.Status)
}
