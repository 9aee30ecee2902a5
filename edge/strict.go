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

// beStrict makes the server answer what it would not, or would answer in plain text: an HTTP version that it does not
// speak, a method that nobody knows, a request without a Host or with two, a request that is none.
func beStrict(app *fiber.App) {
	server := app.Server()
	handle, fail, methods := server.Handler, server.ErrorHandler, app.Config().RequestMethods
	server.Handler = func(ctx *fasthttp.RequestCtx) {
		switch string(ctx.Request.Header.Protocol()) {
		case "HTTP/1.1", "HTTP/1.0":
		default:
			ctx.SetConnectionClose()
			refuse(app, ctx, fiber.NewError(fiber.StatusHTTPVersionNotSupported, "want HTTP/1.1 or HTTP/1.0"))
			return
		}
		if fault := hostFault(&ctx.Request.Header); fault != "" {
			ctx.SetConnectionClose() // a proxy in front may have taken another host, or another end of the request
			refuse(app, ctx, fiber.NewError(fiber.StatusBadRequest, fault))
			return
		}
		if !slices.Contains(methods, string(ctx.Method())) {
			ctx.Request.Header.SetMethod(fiber.MethodTrace) // known, and on no path of ours: 404 or 405, as the path says
		}
		handle(ctx)
	}
	server.ErrorHandler = func(ctx *fasthttp.RequestCtx, err error) { fail(ctx, describe(err)) }
}

// hostFault says what is wrong with a request's Host (RFC 9112, section 3.2); "" if nothing. An empty one is what a client
// must send that knows no name for us, and we need none: it gets what everyone gets (section 3.3).
func hostFault(header *fasthttp.RequestHeader) string {
	switch lines := hostLines(header.RawHeaders()); {
	case lines == 0 && header.IsHTTP11():
		return "want a Host header"
	case lines > 1:
		return "want one Host header"
	case !isHost(string(header.Host())):
		return "Host: want a name or an address, and a port if there is one"
	}
	return ""
}

// hostLines counts the lines of Host. The server keeps the last one only. It has refused names with white space around
// them, so each line begins with the name or is none of it.
func hostLines(raw []byte) (n int) {
	name := []byte("host:")
	for line := range bytes.Lines(raw) {
		if len(line) >= len(name) && bytes.EqualFold(line[:len(name)], name) {
			n++
		}
	}
	return n
}

func isHost(value string) bool {
	u, err := url.Parse("//" + value)
	return err == nil && u.Host == value
}

// refuse answers with an error before any route is looked for.
func refuse(app *fiber.App, ctx *fasthttp.RequestCtx, err *fiber.Error) {
	c := app.AcquireCtx(ctx)
	defer app.ReleaseCtx(c)
	if app.ErrorHandler(c, err) != nil {
		ctx.SetStatusCode(err.Code)
	}
}

var errMalformed = errors.New("malformed request")

// describe leaves the errors that Fiber knows a status for, and gives the others, whose text quotes the request, one
// text.
func describe(err error) error {
	_, tooLarge := errors.AsType[*fasthttp.ErrSmallBuffer](err)
	_, network := errors.AsType[net.Error](err)
	if tooLarge || network || errors.Is(err, fasthttp.ErrBodyTooLarge) {
		return err
	}
	return errMalformed
}
