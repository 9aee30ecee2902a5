package publish

import (
	"log/slog"
	"time"

	"golang.org/x/time/rate"

	"sightglass/shared/redisurl"
)

// An outage is told when it begins, once a minute while it lasts and when it is over. At its beginning it is told twice:
// the first error is often that of a connection that broke, and the next one says why no other can be made. It is for
// one goroutine.
type outage struct {
	log     *slog.Logger
	failing bool
	remind  rate.Sometimes
}

func (o *outage) goesOn(message string, err error) {
	if !o.failing {
		o.remind = rate.Sometimes{First: 2, Interval: time.Minute}
	}
	o.failing = true
	o.remind.Do(func() { o.log.Error(message, "err", redisurl.Explain(err)) })
}

// isOver tells the end, if there was an outage until now.
func (o *outage) isOver(message string) {
	if o.failing {
		o.log.Info(message)
	}
	o.failing = false
}
