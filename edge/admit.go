package edge

import (
	"cmp"
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

// The values of --forwarded-header. With any, X-Forwarded-For takes precedence: nearly every proxy writes it and passes
// Forwarded on unchanged, so if a request has both, Forwarded is likely forged by the client. Proxies that write only
// Forwarded need the setting forwarded, or must drop X-Forwarded-For.
const (
	headerAny          = "any"
	headerForwardedFor = "x-forwarded-for"
	headerForwarded    = "forwarded"
)

const (
	// handshakesPerStream is the default number of handshakes per minute for each stream that an address may have: one a
	// second is more than a client with backoff makes, and an edge handles thousands a second.
	handshakesPerStream = 60
	// connsPerStream is the default number of TCP connections for each stream that an address may have: a browser opens up to
	// six for a page and its files, and a rejected client needs one to learn why.
	connsPerStream = 10
)

// limits are the checks between the public and the hub.
type limits struct {
	rejections *rejection.Counter
	proxies    realip.Proxies
	origins    origin.Allowed // may open a stream
	readers    origin.Allowed // may read the API
	attempts   prometheus.Counter
	handshakes *limit.Rate
	addresses  *limit.Addresses // streams on this edge
	fleet      *limit.Fleet     // streams on all edges; nil with the scope edge
	limiter    hub.Limiter      // fleet if there is one, else addresses
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
		return errors.New("--proxy-protocol: want --trusted-proxies too: the header is read from trusted proxies only")
	}
	return nil
}

// checkSockets rejects a limit of TCP connections below that of streams, as each stream is a TCP connection.
func (o Options) checkSockets() error {
	if o.MaxConnsPerAddress != 0 && o.MaxConnsPerAddress < o.MaxPerAddress {
		return fmt.Errorf("--max-conns-per-address %d: want --max-per-address (%d) or more, or 0", o.MaxConnsPerAddress, o.MaxPerAddress)
	}
	return nil
}

// newLimits returns the limits of e.opts, which are valid.
func (e *Edge) newLimits() (l limits, err error) {
	l.rejections = rejection.NewCounter(e.metrics)
	l.attempts = promauto.With(e.metrics).NewCounter(prometheus.CounterOpts{
		Name: "sightglass_edge_handshakes_total", Help: "Requests for streams, accepted or not.",
	})
	l.handshakes = limit.NewRate(cmp.Or(e.opts.HandshakesPerMinute, handshakesPerStream*e.opts.MaxPerAddress))
	l.addresses = limit.NewAddresses(e.opts.MaxPerAddress)
	l.limiter = l.addresses
	if e.opts.LimitScope == scopeCluster {
		l.fleet = limit.NewFleet(e.redis, limit.FleetOptions{
			Local: l.addresses, MaxPerAddress: e.opts.MaxPerAddress, Lease: e.opts.LimitLease, Log: e.opts.Logger(logLimit),
		}, e.metrics)
		l.limiter = l.fleet
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

// requireUpgrade rejects requests that are not WebSocket handshakes.
func requireUpgrade(c *fiber.Ctx) error {
	if !ws.IsUpgrade(c) {
		c.Set(fiber.HeaderUpgrade, "websocket")
		return fiber.NewError(fiber.StatusUpgradeRequired, "this path requires a WebSocket handshake")
	}
	return c.Next()
}

// admit rejects requests for a stream that fail a check. It acquires nothing that must be released, because the connection can
// still break before the stream begins. The origin is checked before the rate, so that a page of another origin cannot use
// up its visitors' allowance.
func (e *Edge) admit(c *fiber.Ctx) error {
	e.limits.attempts.Inc()
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

// localAddr is the key in Locals for the client's netip.Addr, which the stream needs.
const localAddr = "addr"

func (e *Edge) originAllowed(c *fiber.Ctx) bool {
	var origins []string
	for _, line := range c.Request().Header.PeekAll(fiber.HeaderOrigin) {
		origins = append(origins, string(line))
	}
	return e.limits.origins.Allow(origins, string(c.Request().Header.Host()))
}

// clientAddr returns the client's address, behind proxies too. It is a copy that may outlive the request.
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

// countRejections counts the requests that the server rejected before routing.
func (e *Edge) countRejections(respond fiber.ErrorHandler) fiber.ErrorHandler {
	return func(c *fiber.Ctx, err error) error {
		switch {
		case errors.Is(err, fiber.ErrRequestTimeout):
			e.limits.rejections.Count(rejection.HeaderTime)
		case errors.Is(err, fiber.ErrRequestHeaderFieldsTooLarge):
			e.limits.rejections.Count(rejection.HeaderSize)
		}
		return respond(c, err)
	}
}
