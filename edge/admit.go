package edge

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"sightglass/edge/hub"
	"sightglass/edge/limit"
	"sightglass/edge/origin"
	"sightglass/edge/realip"
	"sightglass/edge/rejection"
	"sightglass/edge/ws"
)

// The values of --limit-scope.
const (
	scopeEdge    = "edge"
	scopeCluster = "cluster"
)

// The values of --forwarded-header. With any, X-Forwarded-For wins: nearly every proxy writes it and passes a Forwarded
// on as it came, so where both are there Forwarded is likely the client's own. Where the proxies write only Forwarded
// it is the other way round, and they must be set to drop X-Forwarded-For or the setting to forwarded.
const (
	headerAny          = "any"
	headerForwardedFor = "x-forwarded-for"
	headerForwarded    = "forwarded"
)

const (
	// handshakesPerPlace is how many handshakes a minute an address may make for each WebSocket that it may hold: one a
	// second is more than any client that reconnects with backoff makes, and an edge takes thousands a second.
	handshakesPerPlace = 60
	// socketsPerPlace is how many TCP connections an address may have open for each WebSocket that it may hold: a browser
	// has up to six for a page and its files, and those who are told why they cannot stay need one too.
	socketsPerPlace = 10
)

// limits is what stands between the public and the hub.
type limits struct {
	rejections *rejection.Counter
	proxies    realip.Proxies
	origins    origin.Allowed // may open a WebSocket
	readers    origin.Allowed // may read the API
	handshaken prometheus.Counter
	handshakes *limit.Rate
	addresses  *limit.Addresses // WebSockets on this edge
	fleet      *limit.Fleet     // nil with the scope edge
}

func (o Options) proxies() (realip.Proxies, error) {
	p, err := realip.ParseProxies(o.TrustedProxies)
	if err != nil {
		return p, fmt.Errorf("--trusted-proxies: %w", err)
	}
	return p, nil
}

func (o Options) origins() (origin.Allowed, error) {
	a, err := origin.Parse(o.AllowedOrigins)
	if err != nil {
		return a, fmt.Errorf("--allowed-origins: %w", err)
	}
	return a, nil
}

func (o Options) corsOrigins() (origin.Allowed, error) {
	a, err := origin.Parse(o.CORSOrigins)
	if err == nil && a.Any() && len(o.CORSOrigins) > 1 {
		err = errors.New("want * alone, or no *")
	}
	if err != nil {
		return a, fmt.Errorf("--cors-origins: %w", err)
	}
	return a, nil
}

func (o Options) checkProxies() error {
	if o.ProxyProtocol && len(o.TrustedProxies) == 0 {
		return errors.New("--proxy-protocol: want --trusted-proxies too, as nobody else's word is believed")
	}
	return nil
}

// checkSockets refuses a limit that nobody could live with: each WebSocket is a TCP connection.
func (o Options) checkSockets() error {
	if o.MaxConnsPerAddress != 0 && o.MaxConnsPerAddress < o.MaxPerAddress {
		return fmt.Errorf("--max-conns-per-address %d: want --max-per-address (%d) or more, or 0", o.MaxConnsPerAddress, o.MaxPerAddress)
	}
	return nil
}

func (o Options) handshakesPerMinute() int {
	if o.HandshakesPerMinute == 0 {
		return handshakesPerPlace * o.MaxPerAddress
	}
	return o.HandshakesPerMinute
}

func (o Options) maxSockets() int {
	if o.MaxConnsPerAddress == 0 {
		return socketsPerPlace * o.MaxPerAddress
	}
	return o.MaxConnsPerAddress
}

// newLimits makes what e.opts ask for. They are valid.
func (e *Edge) newLimits() (l limits, err error) {
	l.rejections = rejection.NewCounter(e.metrics)
	l.handshaken = promauto.With(e.metrics).NewCounter(prometheus.CounterOpts{
		Name: "sightglass_edge_handshakes_total", Help: "WebSocket handshakes that came, let in or not.",
	})
	l.handshakes = limit.NewRate(e.opts.handshakesPerMinute())
	l.addresses = limit.NewAddresses(e.opts.MaxPerAddress)
	if e.opts.LimitScope == scopeCluster {
		l.fleet = limit.NewFleet(e.redis, limit.FleetOptions{
			Local: l.addresses, MaxPerAddress: e.opts.MaxPerAddress, Lease: e.opts.LimitLease, Log: e.opts.logger(logLimit),
		}, e.metrics)
	}
	if l.proxies, err = e.opts.proxies(); err != nil {
		return l, err
	}
	if l.origins, err = e.opts.origins(); err != nil {
		return l, err
	}
	l.readers, err = e.opts.corsOrigins()
	return l, err
}

// limiter is what the hub asks.
func (l limits) limiter() hub.Limiter {
	if l.fleet != nil {
		return l.fleet
	}
	return l.addresses
}

// requireUpgrade rejects what is no WebSocket handshake.
func requireUpgrade(c *fiber.Ctx) error {
	if !ws.IsUpgrade(c) {
		c.Set(fiber.HeaderUpgrade, "websocket")
		return fiber.NewError(fiber.StatusUpgradeRequired, "this path requires a WebSocket handshake")
	}
	return c.Next()
}

// admit rejects requests for a stream that may not become one. Nothing is counted here that would have to be released: a
// handshake can still break before a stream comes of it. The origin is checked before the rate, so that a page elsewhere
// cannot use up what its visitors' address may do here.
func (e *Edge) admit(c *fiber.Ctx) error {
	e.limits.handshaken.Inc()
	switch {
	case e.draining.Load():
		e.limits.rejections.Count(rejection.Draining)
		return fiber.NewError(fiber.StatusServiceUnavailable, "draining")
	case !e.originAllowed(c):
		e.limits.rejections.Count(rejection.Origin)
		return fiber.NewError(fiber.StatusForbidden, "pages of this origin may not connect")
	}
	addr := e.clientAddr(c)
	if wait := e.limits.handshakes.Take(time.Now(), addr); wait > 0 {
		e.limits.rejections.Count(rejection.HandshakeRate)
		c.Set(fiber.HeaderRetryAfter, strconv.Itoa(int(math.Ceil(wait.Seconds()))))
		return fiber.NewError(fiber.StatusTooManyRequests, "too many handshakes from your address")
	}
	c.Locals(localAddr, addr)
	return c.Next()
}

// localAddr is the name under which a request's netip.Addr goes on to the WebSocket that it becomes.
const localAddr = "addr"

func (e *Edge) originAllowed(c *fiber.Ctx) bool {
	var origins []string
	for _, line := range c.Request().Header.PeekAll(fiber.HeaderOrigin) {
		origins = append(origins, string(line))
	}
	return e.limits.origins.Allow(origins, string(c.Request().Header.Host()))
}

// clientAddr is the address that a request's client has in truth: a copy, which outlives the request.
func (e *Edge) clientAddr(c *fiber.Ctx) netip.Addr {
	peer, header := realip.Of(c.Context().RemoteAddr()), &c.Request().Header
	if e.opts.ForwardedHeader != headerForwarded {
		lines := header.PeekAll(fiber.HeaderXForwardedFor)
		if len(lines) > 0 || e.opts.ForwardedHeader == headerForwardedFor {
			return e.limits.proxies.ForwardedFor(peer, lines)
		}
	}
	return e.limits.proxies.Forwarded(peer, header.PeekAll(fiber.HeaderForwarded))
}

// countRejections counts the requests that the server rejected before any of our handlers saw them.
func (e *Edge) countRejections(answer fiber.ErrorHandler) fiber.ErrorHandler {
	return func(c *fiber.Ctx, err error) error {
		switch {
		case errors.Is(err, fiber.ErrRequestTimeout):
			e.limits.rejections.Count(rejection.HeaderTime)
		case errors.Is(err, fiber.ErrRequestHeaderFieldsTooLarge):
			e.limits.rejections.Count(rejection.HeaderSize)
		}
		return answer(c, err)
	}
}
