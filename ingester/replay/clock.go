package replay

import "time"

// A clock maps the recording's time to the time of its playback, so that an old recording looks as if it happened now.
type clock struct {
	start time.Time // of the first line, in playback
	first float64   // the first line's T
	speed float64   // above 0
	unix  float64   // when T was 0, in seconds since 1970 by the block headers; see setBy
}

// playing returns the time at which T is played.
func (c clock) playing(t float64) time.Time {
	return c.start.Add(time.Duration((t - c.first) / c.speed * float64(time.Second)))
}

// setBy assumes that the last block that connects did so at its header's time. Nothing else in a recording shows the
// time of day.
func (c *clock) setBy(latest *block, end float64) {
	c.unix = float64(latest.header.Timestamp.Unix()) - end
}

// header returns the time of a block's header in playback: b is as old when it connects as it was in the recording.
func (c clock) header(b *block) time.Time {
	at := c.playing(b.t)
	if b.header == nil {
		return at
	}
	age := c.unix + b.t - float64(b.header.Timestamp.Unix())
	return at.Add(-time.Duration(age * float64(time.Second)))
}
