package daemon

import (
	"log/slog"
	"time"

	"golang.org/x/time/rate"

	"sightglass/shared/redisurl"
)

// An Outage logs that Redis fails: when the outage begins, again with the next failure, once a minute while it lasts,
// and when it ends. The first error is often that of a connection that broke, and the second one says why no other can
// be made. An Outage is for one goroutine.
type Outage struct {
	Log *slog.Logger

	failing bool
	remind  rate.Sometimes
}

// Failed begins an outage or goes on with it.
func (o *Outage) Failed(message string, err error) {
	if !o.failing {
		o.remind = rate.Sometimes{First: 2, Interval: time.Minute}
	}
	o.failing = true
	o.remind.Do(func() { o.Log.Error(message, "err", redisurl.Explain(err)) })
}

// Recovered ends the outage, and logs that if there was one.
func (o *Outage) Recovered(message string) {
	if o.End() {
		o.Log.Info(message)
	}
}

// End ends the outage and logs nothing. It reports whether there was one.
func (o *Outage) End() bool {
	failing := o.failing
	o.failing = false
	return failing
}
