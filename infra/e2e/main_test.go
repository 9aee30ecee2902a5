package e2e

import (
	"context"
	"testing"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"
)

// silent keeps go-redis from printing each failed try to reach a Redis that a test has killed.
type silent struct{}

func (silent) Printf(context.Context, string, ...any) {}

// TestMain fails the package if a goroutine outlives the tests that should have ended it.
func TestMain(m *testing.M) {
	redis.SetLogger(silent{})
	goleak.VerifyTestMain(m,
		// fasthttp keeps one clock for the process, and go's HTTP client its idle connections.
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
		goleak.IgnoreAnyFunction("github.com/gofiber/fiber/v2/utils.StartTimeStampUpdater.func1.1"),
		goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"),
		goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"),
	)
}
