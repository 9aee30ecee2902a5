//go:build deploy

package proxy

import (
	"testing"

	"github.com/redis/go-redis/v9/logging"
	"go.uber.org/goleak"
)

// TestMain fails the package if a goroutine of a test still runs after the tests.
func TestMain(m *testing.M) {
	logging.Disable() // go-redis logs each failed dial to a Redis that is starting
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"),
		goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"),
	)
}
