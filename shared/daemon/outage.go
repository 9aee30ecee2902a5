package daemon

import (
	"log/slog"
	"time"

	"golang.org/x/time/rate"
)

// An Outage logs that something outside fails, such as Redis: at the first failure, at the second, once a minute from then
// on, and when it recovers. The first error is often that of a broken connection; the second one says why no new connection
// can be made. An Outage is for one goroutine.
type Outage struct {
	Log *slog.Logger

	failing bool
	remind  rate.Sometimes
}

// Failed records a failure, which starts an outage or continues it.
func (o *Outage) Failed(message string, err error) {
	if !o.failing {
		o.remind = rate.Sometimes{First: 2, Interval: time.Minute}
	}
	o.failing = true
	o.remind.Do(func() { o.Log.Error(message, "err", err) })
}

// Recovered ends the outage, and logs the message if there was one.
func (o *Outage) Recovered(message string) {
	if o.End() {
		o.Log.Info(message)
	}
}

// End ends the outage without a log. It reports whether there was one.
func (o *Outage) End() bool {
	failing := o.failing
	o.failing = false
	return failing
}
