//go:build deploy

package systemd

import (
	"testing"

	"github.com/redis/go-redis/v9/logging"
)

func TestMain(m *testing.M) {
	logging.Disable() // it tells of each try to reach a Redis that does not answer yet
	m.Run()
}
