package publish

import (
	"log/slog"
	"time"

	"golang.org/x/time/rate"
)

// An outage is told once when it begins, once a minute while it lasts and once when it is over. It is for one
// goroutine.
type outage struct {
	log     *slog.Logger
	failing bool
	remind  rate.Sometimes
}

func (o *outage) goesOn(message string, err error) {
	if !o.failing {
		o.remind = rate.Sometimes{Interval: time.Minute}
	}
	o.failing = true
	o.remind.Do(func() { o.log.Error(message, "err", err) })
}

// isOver reports whether there was one until now.
func (o *outage) isOver(message string) bool {
	if !o.failing {
		return false
	}
	o.failing = false
	o.log.Info(message)
	return true
}
