package edge

import (
	"bytes"
	"errors"
	"net"
	"net/url"
	"slices"

	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"
)

// rejectMalformed makes the server respond with an API error to requests that it would otherwise ignore or reject in
// plain text: an unsupported HTTP version, an unknown method, a missing, repeated or invalid Host, a request that
// cannot be parsed.
func rejectMalformed(app *fiber.App) {
	server := app.Server()
	handle, fail, methods := server.Handler, server.ErrorHandler, app.Config().RequestMethods
	server.Handler = func(ctx *fasthttp.RequestCtx) {
		switch string(ctx.Request.Header.Protocol()) {
		case "HTTP/1.1", "HTTP/1.0":
		default:
			ctx.SetConnectionClose()
			respondError(app, ctx, fiber.NewError(fiber.StatusHTTPVersionNotSupported, "want HTTP/1.1 or HTTP/1.0"))
			return
		}
		if problem := checkHost(&ctx.Request.Header); problem != "" {
			ctx.SetConnectionClose() // a proxy may have parsed the request differently
			respondError(app, ctx, fiber.NewError(fiber.StatusBadRequest, problem))
			return
		}
		if !slices.Contains(methods, string(ctx.Method())) {
			ctx.Request.Header.SetMethod(fiber.MethodTrace) // a known method that no path has: 404 or 405, depending on the path
		}
		handle(ctx)
	}
	server.ErrorHandler = func(ctx *fasthttp.RequestCtx, err error) { fail(ctx, publicError(err)) }
}

// checkHost returns what is wrong with a request's Host (RFC 9112, section 3.2); "" if it is valid. An empty Host is valid:
// a client that knows no name for the server must send it (section 3.3).
func checkHost(header *fasthttp.RequestHeader) string {
	u, err := url.Parse("//" + string(header.Host()))
	switch lines := hostLines(header.RawHeaders()); {
	case lines == 0 && header.IsHTTP11():
		return "want a Host header"
	case lines > 1:
		return "want one Host header"
	case err != nil || u.Host != string(header.Host()):
		return "Host: want a name or an address, and a port if there is one"
	}
	return ""
}

// hostLines counts the Host lines, of which the server keeps only the last. The server has rejected header names with white
// space around them, so comparing the beginning of each line suffices.
func hostLines(raw []byte) (n int) {
	name := []byte("host:")
	for line := range bytes.Lines(raw) {
		if len(line) >= len(name) && bytes.EqualFold(line[:len(name)], name) {
			n++
		}
	}
	return n
}

// respondError responds with an error before routing.
func respondError(app *fiber.App, ctx *fasthttp.RequestCtx, err *fiber.Error) {
	c := app.AcquireCtx(ctx)
	defer app.ReleaseCtx(c)
	if app.ErrorHandler(c, err) != nil {
		ctx.SetStatusCode(err.Code)
	}
}

var errMalformed = errors.New("malformed request")

// publicError returns errors that Fiber has a status for, and errMalformed for all others, whose text quotes the request.
func publicError(err error) error {
	_, tooLarge := errors.AsType[*fasthttp.ErrSmallBuffer](err)
	_, network := errors.AsType[net.Error](err)
	if tooLarge || network || errors.Is(err, fasthttp.ErrBodyTooLarge) {
		return err
	}
	return errMalformed
}
