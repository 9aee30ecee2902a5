package edge

import (
	"errors"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"github.com/gofiber/contrib/websocket"
	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/middleware/etag"
	"github.com/gofiber/fiber/v2/middleware/filesystem"

	"sightglass/edge/feed"
	"sightglass/edge/hub"
	"sightglass/edge/web"
	"sightglass/edge/ws"
	"sightglass/shared/snapshot"
)

// readyWithin is how old the newest snapshot may be for an edge to take clients.
const readyWithin = 5 * time.Second

// routes is everything that the public listener answers.
func (e *Edge) routes() *fiber.App {
	app := fiber.New(fiber.Config{
		DisableStartupMessage: true,
		ReadTimeout:           10 * time.Second, // for a whole request: slow headers hold nothing for longer
		WriteTimeout:          10 * time.Second,
		IdleTimeout:           time.Minute,
		BodyLimit:             1024, // no request of ours has a body
		ReadBufferSize:        4096, // also the most bytes of headers
		ErrorHandler:          answerError,
	})
	app.Server().KeepHijackedConns = true // or Close on a WebSocket does nothing; the hub closes each itself

	app.Get("/livez", func(c *fiber.Ctx) error { return c.SendString("ok\n") })
	app.Get("/readyz", e.ready)
	app.Get("/health", e.health)
	app.Get("/ws/mempool", e.admit, e.stream)
	app.Get("/api/v1/snapshot", e.latest)
	app.Get("/api/v1/about", e.about)
	app.Use(securePage, etag.New(), filesystem.New(filesystem.Config{
		Root: http.FS(web.Files()), Index: "index.html",
	}))
	return app
}

func (e *Edge) ready(c *fiber.Ctx) error {
	switch {
	case e.draining.Load():
		return fiber.NewError(fiber.StatusServiceUnavailable, "draining")
	case !e.feed.Connected():
		return fiber.NewError(fiber.StatusServiceUnavailable, "not connected to redis")
	case e.feed.Age() > readyWithin:
		return fiber.NewError(fiber.StatusServiceUnavailable, "no snapshot for over 5 s")
	}
	return c.SendString("ok\n")
}

func (e *Edge) health(c *fiber.Ctx) error {
	status, active := "ok", uint64(0)
	frame := e.feed.Latest()
	if frame == nil || frame.Snapshot.Status == snapshot.Stale || !e.feed.Connected() {
		status = "degraded"
	}
	if frame != nil {
		active = frame.Snapshot.Stats.ActiveInWindow
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

// admit turns away what cannot become a WebSocket.
func (e *Edge) admit(c *fiber.Ctx) error {
	if !websocket.IsWebSocketUpgrade(c) {
		c.Set(fiber.HeaderUpgrade, "websocket")
		return fiber.NewError(fiber.StatusUpgradeRequired, "this path speaks WebSocket")
	}
	if e.draining.Load() {
		return fiber.NewError(fiber.StatusServiceUnavailable, "draining")
	}
	return c.Next()
}

// stream makes the request a WebSocket and hands it to the hub.
func (e *Edge) stream(c *fiber.Ctx) error {
	addr := peer(c)
	err := ws.Upgrade(c.Context(), hub.DeltaProtocol, func(conn *ws.Conn) { e.hub.Serve(conn, addr) })
	switch {
	case errors.Is(err, ws.ErrNoUpgrade):
		c.Set(fiber.HeaderUpgrade, "websocket")
		return fiber.NewError(fiber.StatusUpgradeRequired, err.Error())
	case errors.Is(err, ws.ErrVersion):
		c.Set(fiber.HeaderSecWebSocketVersion, ws.Version)
		return fiber.NewError(fiber.StatusUpgradeRequired, err.Error())
	case err != nil:
		return fiber.NewError(fiber.StatusBadRequest, err.Error())
	}
	return nil
}

// peer is the address at the other end of the connection; the zero address if it has none.
func peer(c *fiber.Ctx) netip.Addr {
	tcp, ok := c.Context().RemoteAddr().(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	return tcp.AddrPort().Addr()
}

func (e *Edge) latest(c *fiber.Ctx) error {
	frame := e.feed.Latest()
	if frame == nil {
		c.Set(fiber.HeaderRetryAfter, "1")
		return fiber.NewError(fiber.StatusServiceUnavailable, "no snapshot yet")
	}
	tag := entityTag(frame)
	c.Set(fiber.HeaderETag, tag)
	c.Set(fiber.HeaderCacheControl, "no-cache")
	if c.Get(fiber.HeaderIfNoneMatch) == tag {
		return c.SendStatus(fiber.StatusNotModified)
	}
	c.Set(fiber.HeaderContentType, fiber.MIMEApplicationJSONCharsetUTF8)
	return c.Send(frame.JSON)
}

func entityTag(f *feed.Frame) string {
	s := f.Snapshot
	return `"` + string(s.Epoch) + "-" + strconv.FormatUint(s.Seq, 10) + "-" + string(s.Status) + `"`
}

// about tells the dashboard what this edge's operator has to say.
func (e *Edge) about(c *fiber.Ctx) error {
	c.Set(fiber.HeaderCacheControl, "no-cache")
	return c.JSON(struct {
		Notice string `json:"notice"`
	}{e.opts.Notice})
}

func securePage(c *fiber.Ctx) error {
	c.Set(fiber.HeaderContentSecurityPolicy, web.ContentSecurityPolicy)
	c.Set(fiber.HeaderXContentTypeOptions, "nosniff")
	c.Set(fiber.HeaderReferrerPolicy, "no-referrer")
	c.Set(fiber.HeaderCacheControl, "no-cache")
	return c.Next()
}

// answerError gives every error one shape, and never more than its status tells when it was not ours.
func answerError(c *fiber.Ctx, err error) error {
	status, message := fiber.StatusInternalServerError, "internal error"
	if ours, ok := errors.AsType[*fiber.Error](err); ok {
		status, message = ours.Code, ours.Message
	}
	var answer struct {
		Error struct {
			Code    int    `json:"code"`
			Message string `json:"message"`
		} `json:"error"`
	}
	answer.Error.Code, answer.Error.Message = status, message
	c.Set(fiber.HeaderCacheControl, "no-store")
	return c.Status(status).JSON(answer)
}
