package browser

import (
	"os"
	"testing"

	"github.com/redis/go-redis/v9/logging"
)

func TestMain(m *testing.M) {
	logging.Disable() // it tells of each failed try to reach a Redis that is only starting
	os.Exit(m.Run())
}
