package edge

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/gofiber/fiber/v2"

	"sightglass/edge/httpapi"
	"sightglass/edge/hub"
	"sightglass/edge/ws"
	"sightglass/shared/contract"
)

// routes returns the public listener's handlers.
func (e *Edge) routes() *fiber.App {
	app := fiber.New(fiber.Config{
		DisableStartupMessage: true,
		ReadTimeout:           e.opts.HeaderTimeout, // for a whole request, so that slow headers occupy nothing for longer
		WriteTimeout:          10 * time.Second,
		IdleTimeout:           time.Minute,
		BodyLimit:             1024, // no path expects a body
		ReadBufferSize:        e.opts.MaxHeaderBytes,
		ErrorHandler:          e.countRejections(errorResponse),
	})
	rejectMalformed(app)
	app.Server().KeepHijackedConns = true // else Close on a hijacked connection does nothing; the hub closes each one

	app.Get("/livez", func(c *fiber.Ctx) error { return c.SendString("ok\n") })
	app.Get("/readyz", func(c *fiber.Ctx) error {
		if err := e.unready(); err != nil {
			return err
		}
		return c.SendString("ok\n")
	})
	app.Get("/health", e.health)
	app.Get("/ws/mempool", requireUpgrade, e.admit, ws.Handler(hub.DeltaProtocol, e.opts.Logger(logWS), func(h *ws.Handshake, conn *ws.Conn) {
		addr, _ := h.Locals(localAddr).(netip.Addr)
		e.hub.ServeWebSocket(conn, addr)
	}))
	e.mountBaseRedirect(app)
	e.mountAPI(app)
	e.mountPage(app)
	e.countRequests(app)
	e.mountBase(app)
	return app
}

// readyWithin is contract.ReadyWithin as text.
var readyWithin = fmt.Sprintf("%g s", contract.ReadyWithin.Seconds())

// unready returns why load balancers should send no clients, as an error with a status; nil if the edge is ready.
func (e *Edge) unready() error {
	switch {
	case e.draining.Load():
		return fiber.NewError(fiber.StatusServiceUnavailable, "draining")
	case !e.feed.Connected():
		return fiber.NewError(fiber.StatusServiceUnavailable, "not connected to redis")
	case e.feed.Age() > contract.ReadyWithin:
		return fiber.NewError(fiber.StatusServiceUnavailable, "no snapshot for over "+readyWithin)
	}
	return nil
}

func (e *Edge) health(c *fiber.Ctx) error {
	status, active := "ok", uint64(0)
	latest := e.feed.Latest()
	if latest == nil || latest.Snapshot.Status == contract.Stale || !e.feed.Connected() {
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

// health is the response of /health, which is part of the public contract.
type health struct {
	Status           string `json:"status"` // ok or degraded: no snapshot, a stale one, or no Redis
	ClientsConnected int    `json:"clients_connected"`
	MempoolActiveTxs uint64 `json:"mempool_active_txs"`
	UptimeSeconds    int64  `json:"uptime_seconds"` // of this edge
}

// events turns the request into a stream of server-sent events, whose connection it hands to the hub. HEAD gets only the
// header.
func (e *Edge) events(c *fiber.Ctx) error {
	form := c.Query("form", "snapshot")
	if form != "snapshot" && form != "delta" {
		return fiber.NewError(fiber.StatusBadRequest, fmt.Sprintf("form %.40q: want snapshot or delta", form))
	}
	c.Set(fiber.HeaderContentType, "text/event-stream")
	c.Set(fiber.HeaderCacheControl, "no-store")
	c.Set(fiber.HeaderXContentTypeOptions, "nosniff")
	c.Set("X-Accel-Buffering", "no") // else nginx delays events until a buffer is full
	if c.Method() == fiber.MethodHead {
		return nil
	}
	header := http.Header{fiber.HeaderConnection: {"close"}}
	c.Response().Header.VisitAll(func(name, value []byte) { header.Add(string(name), string(value)) })
	header.Del(fiber.HeaderContentLength)
	addr, _ := c.Locals(localAddr).(netip.Addr)
	c.Context().HijackSetNoResponse(true) // the hub writes the whole response, as it may reject the client
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

// errorResponse responds to every error with the same JSON form, and hides the text of internal errors.
func errorResponse(c *fiber.Ctx, err error) error {
	status, message := fiber.StatusInternalServerError, "internal error"
	if public, ok := errors.AsType[*fiber.Error](err); ok {
		status, message = public.Code, public.Message
	}
	if status == fiber.StatusNotFound {
		message = "no such path" // Fiber's message quotes the path
	}
	if none, ok := errors.AsType[httpapi.NoPriceError](err); ok {
		status, message = fiber.StatusNotFound, none.Error()
	}
	var response struct {
		Error struct {
			Code    int    `json:"code"`
			Message string `json:"message"`
		} `json:"error"`
	}
	response.Error.Code, response.Error.Message = status, message
	c.Set(fiber.HeaderCacheControl, "no-store")
	c.Set(fiber.HeaderXContentTypeOptions, "nosniff")
	return c.Status(status).JSON(response)
}
