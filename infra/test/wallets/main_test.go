package wallets

import (
	"os"
	"testing"

	"github.com/redis/go-redis/v9/logging"
)

func TestMain(m *testing.M) {
	logging.Disable() // go-redis logs each failed dial to a Redis that is starting
	os.Exit(m.Run())
}
