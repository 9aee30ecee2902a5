package replay

import "time"

// A clock turns the recording's time into that of its playing, so that an old recording looks as if it happened now.
type clock struct {
	start time.Time // of the first line, as it is played
	first float64   // the first line's T
	speed float64   // above 0
	unix  float64   // when T was 0, in seconds since 1970 and in the time of block headers; see setBy
}

// playing gives the time at which T is played.
func (c clock) playing(t float64) time.Time {
	return c.start.Add(time.Duration((t - c.first) / c.speed * float64(time.Second)))
}

// setBy takes the last block that connects for as old as it says when it does. Nothing else in a recording tells the
// time of day.
func (c *clock) setBy(latest *block, end float64) {
	c.unix = float64(latest.header.Timestamp.Unix()) - end
}

// header gives the time of a block's header as of the playing: b is as old when it connects as it was in the life.
func (c clock) header(b *block) time.Time {
	at := c.playing(b.t)
	if b.header == nil {
		return at
	}
	age := c.unix + b.t - float64(b.header.Timestamp.Unix())
	return at.Add(-time.Duration(age * float64(time.Second)))
}
