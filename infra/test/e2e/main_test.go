package e2e

import (
	"testing"

	"github.com/redis/go-redis/v9/logging"
	"go.uber.org/goleak"
)

// TestMain fails the package if a goroutine outlives the tests that should have ended it.
func TestMain(m *testing.M) {
	logging.Disable() // it tells of each failed try to reach a Redis that a test has killed
	goleak.VerifyTestMain(m,
		// fasthttp keeps one clock for the process, Fiber another, and Go's HTTP client its idle connections.
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"), // looks whether it was stopped each 10 s
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp/stackless.funcWorker"),      // compresses, for the whole process
		goleak.IgnoreAnyFunction("github.com/gofiber/fiber/v2/utils.StartTimeStampUpdater.func1.1"),
		goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"),
		goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"),
	)
}
