//go:build deploy

package proxy

import (
	"testing"

	"github.com/redis/go-redis/v9/logging"
	"go.uber.org/goleak"
)

// TestMain fails the package if a goroutine outlives the tests that should have ended it.
func TestMain(m *testing.M) {
	logging.Disable() // it tells of each failed try to reach a Redis that has only just been started
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"),
		goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"),
	)
}
