package edge

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/gofiber/fiber/v2"

	"sightglass/edge/hub"
	"sightglass/edge/ws"
	"sightglass/shared/snapshot"
)

// routes is everything that the public listener answers.
func (e *Edge) routes() *fiber.App {
	app := fiber.New(fiber.Config{
		DisableStartupMessage: true,
		ReadTimeout:           e.opts.HeaderTimeout, // for a whole request: slow headers hold nothing for longer
		WriteTimeout:          10 * time.Second,
		IdleTimeout:           time.Minute,
		BodyLimit:             1024, // no request of ours has a body
		ReadBufferSize:        e.opts.MaxHeaderBytes,
		ErrorHandler:          e.countRejections(answerError),
	})
	beStrict(app)
	app.Server().KeepHijackedConns = true // or Close on a WebSocket does nothing; the hub closes each itself

	app.Get("/livez", func(c *fiber.Ctx) error { return c.SendString("ok\n") })
	app.Get("/readyz", e.ready)
	app.Get("/health", e.health)
	app.Get("/ws/mempool", requireUpgrade, e.admit, e.stream())
	e.mountAPI(app)
	e.mountPage(app)
	e.mountBaseRedirect(app)
	e.countRequests(app)
	e.mountBase(app)
	return app
}

func (e *Edge) ready(c *fiber.Ctx) error {
	if why := e.unready(); why != nil {
		return why
	}
	return c.SendString("ok\n")
}

// readyWithin is ReadyWithin in words.
var readyWithin = fmt.Sprintf("%g s", snapshot.ReadyWithin.Seconds())

// unready is why the edge should get no clients, an error with a status; nil if it should.
func (e *Edge) unready() error {
	switch {
	case e.draining.Load():
		return fiber.NewError(fiber.StatusServiceUnavailable, "draining")
	case !e.feed.Connected():
		return fiber.NewError(fiber.StatusServiceUnavailable, "not connected to redis")
	case e.feed.Age() > snapshot.ReadyWithin:
		return fiber.NewError(fiber.StatusServiceUnavailable, "no snapshot for over "+readyWithin)
	}
	return nil
}

func (e *Edge) health(c *fiber.Ctx) error {
	status, active := "ok", uint64(0)
	latest := e.feed.Latest()
	if latest == nil || latest.Snapshot.Status == snapshot.Stale || !e.feed.Connected() {
		status = "degraded"
	}
	if latest != nil {
		active = latest.Snapshot.Stats.ActiveInWindow
	}
	c.Set(fiber.HeaderCacheControl, "no-store")
	return c.JSON(health{
		Status: status, ClientsConnected: e.hub.Len(), MempoolActiveTxs: active,
		UptimeSeconds: int64(time.Since(e.started).Seconds()),
	})
}

// health is the answer of /health; part of the public contract.
type health struct {
	Status           string `json:"status"` // ok, or degraded: no snapshot, a stale one, or no Redis
	ClientsConnected int    `json:"clients_connected"`
	MempoolActiveTxs uint64 `json:"mempool_active_txs"`
	UptimeSeconds    int64  `json:"uptime_seconds"` // of this edge
}

// stream makes the request a WebSocket and hands it to the hub.
func (e *Edge) stream() fiber.Handler {
	return ws.Handler(hub.DeltaProtocol, e.opts.logger(logWS), func(h *ws.Handshake, conn *ws.Conn) {
		addr, _ := h.Locals(localAddr).(netip.Addr)
		e.hub.ServeWebSocket(conn, addr)
	})
}

// events makes the request a stream of server-sent events and hands its connection to the hub. A HEAD gets the header
// alone.
func (e *Edge) events(c *fiber.Ctx) error {
	form := c.Query("form", "snapshot")
	if form != "snapshot" && form != "delta" {
		return fiber.NewError(fiber.StatusBadRequest, fmt.Sprintf("form %.40q: want snapshot or delta", form))
	}
	c.Set(fiber.HeaderContentType, "text/event-stream")
	c.Set(fiber.HeaderCacheControl, "no-store")
	c.Set(fiber.HeaderXContentTypeOptions, "nosniff")
	c.Set("X-Accel-Buffering", "no") // nginx would hold events back until a buffer is full
	if c.Method() == fiber.MethodHead {
		return nil
	}
	header := http.Header{fiber.HeaderConnection: {"close"}}
	c.Response().Header.VisitAll(func(name, value []byte) { header.Add(string(name), string(value)) })
	header.Del(fiber.HeaderContentLength)
	addr, _ := c.Locals(localAddr).(netip.Addr)
	c.Context().HijackSetNoResponse(true) // the hub writes all of it, as it may have to reject the client
	c.Context().Hijack(func(hijacked net.Conn) {
		conn, err := ws.Detach(hijacked)
		if err != nil {
			e.log.Error("cannot detach a connection", "err", err)
			return
		}
		e.hub.ServeEvents(conn.Conn, addr, header, form == "delta")
	})
	return nil
}

// answerError gives every error one shape, and never more than its status tells when it was not ours.
func answerError(c *fiber.Ctx, err error) error {
	status, message := fiber.StatusInternalServerError, "internal error"
	if ours, ok := errors.AsType[*fiber.Error](err); ok {
		status, message = ours.Code, ours.Message
	}
	if status == fiber.StatusNotFound {
		message = "no such path" // Fiber's repeats what was asked
	}
	var answer struct {
		Error struct {
			Code    int    `json:"code"`
			Message string `json:"message"`
		} `json:"error"`
	}
	answer.Error.Code, answer.Error.Message = status, message
	c.Set(fiber.HeaderCacheControl, "no-store")
	c.Set(fiber.HeaderXContentTypeOptions, "nosniff")
	return c.Status(status).JSON(answer)
}
