package fanout

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"testing"

	"github.com/redis/go-redis/v9/logging"
	"go.uber.org/goleak"
)

// TestMain fails the package if the tests leak goroutines.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == FloorCommand { // a child process of BenchmarkClients
		signal.Ignore(syscall.SIGTERM) // the end of its input ends it
		if err := ServeFloor(os.Args[2]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	logging.Disable()
	goleak.VerifyTestMain(m,
		// Process-wide clocks of fasthttp and Fiber, and idle connections of Go's HTTP client.
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"), // checks every 10 s whether it was stopped
		goleak.IgnoreAnyFunction("github.com/gofiber/fiber/v2/utils.StartTimeStampUpdater.func1.1"),
		goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"),
		goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"),
	)
}
