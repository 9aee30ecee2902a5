package edge

import (
	"errors"
	"net"
	"slices"

	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"
)

// beStrict makes the server answer what it would not, or would answer in plain text: an HTTP version that it does not
// speak, a method that nobody knows, a request that is none.
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
		if !slices.Contains(methods, string(ctx.Method())) {
			ctx.Request.Header.SetMethod(fiber.MethodTrace) // known, and on no path of ours: 404 or 405, as the path says
		}
		handle(ctx)
	}
	server.ErrorHandler = func(ctx *fasthttp.RequestCtx, err error) { fail(ctx, describe(err)) }
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
