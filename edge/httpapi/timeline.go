package httpapi

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"sightglass/shared/history"
	"sightglass/shared/redisurl"
)

const (
	// recentTTL is half the interval between two entries.
	recentTTL = history.Slot * time.Second / 2
	// coarseTTL is for the other series, of which the ingester writes a row once in minutes.
	coarseTTL = time.Minute
	// besideEntry is how close a block must be to an entry to be left out of the timeline, in seconds.
	besideEntry = 10 * 60
)

// The parts of a timeline. One is nil if its series was never read.
type parts struct {
	recent *cached[[]history.Entry]
	blocks *cached[[]history.Block]
	hours  *cached[[]history.Candle]
	days   *cached[[]history.Candle]
}

// A timeline is the whole history: its four series, and one that is merged from them.
type timeline struct {
	parts parts

	rows   []history.Entry // each time in the finest series that has it, oldest first; the price of a candle is its first
	blocks []history.Block // with a price, in the order of their times
}

// incomplete reports whether a series could not be read, so that the absence of a row means nothing.
func (t *timeline) incomplete() bool {
	return t.parts.recent == nil || t.parts.blocks == nil || t.parts.hours == nil || t.parts.days == nil
}

// The caches of the history: one for each series.
type series struct {
	newer  *cache[bool] // whether a newer version has written the history
	recent *cache[[]history.Entry]
	blocks *cache[[]history.Block]
	hours  *cache[[]history.Candle]
	days   *cache[[]history.Candle]
}

var (
	// errNewer is the error of a history that only a later version can read.
	errNewer = errors.New("a newer version has written the history: update this edge")
	// errIncomplete is the error of a price that is not in the series that could be read.
	errIncomplete = errors.New("a part of the history cannot be read")
)

// timeline returns the history. It is merged again only if a series has changed. A series that cannot be read is the one that
// was read last, or empty. The error is errNewer, or wraps errUnavailable if no series was ever read.
func (a *API) timeline(now time.Time) (*cached[timeline], error) {
	ctx := context.Background() // bounded by the Redis client's timeouts; fasthttp reuses the request
	if newer, err := a.series.newer.get(ctx, now); err == nil && newer.value {
		return nil, errNewer
	}
	var p parts
	var errs [4]error
	p.recent, errs[0] = a.series.recent.get(ctx, now)
	p.blocks, errs[1] = a.series.blocks.get(ctx, now)
	p.hours, errs[2] = a.series.hours.get(ctx, now)
	p.days, errs[3] = a.series.days.get(ctx, now)
	if p == (parts{}) {
		return nil, errors.Join(errs[:]...)
	}
	a.merging.Lock()
	defer a.merging.Unlock()
	if a.merged == nil || a.merged.value.parts != p {
		a.merged = &cached[timeline]{value: merge(p), responses: make(map[any]*Response)}
	}
	return a.merged, nil
}

// merge returns the timeline of the parts. Beside all entries it has the blocks that no entry is near, and the candles of hours
// and days in which nothing finer is.
func merge(p parts) timeline {
	t := timeline{parts: p}
	if p.recent != nil {
		t.rows = p.recent.value
	}
	if p.blocks != nil {
		t.blocks = slices.Clone(p.blocks.value)
		t.blocks = slices.DeleteFunc(t.blocks, func(b history.Block) bool { return b.Price <= 0 })
		// By time: a block's time may be before that of its predecessor.
		slices.SortStableFunc(t.blocks, func(x, y history.Block) int { return cmp.Compare(x.Timestamp, y.Timestamp) })
		t.rows = fill(t.rows, t.blocks, func(b history.Block) (e history.Entry, from, to int64) {
			return b.Entry, b.Timestamp - besideEntry, b.Timestamp + besideEntry
		})
	}
	for _, c := range []struct {
		candles *cached[[]history.Candle]
		length  int64
	}{{p.hours, history.Hour}, {p.days, history.Day}} {
		if c.candles == nil {
			continue
		}
		t.rows = fill(t.rows, c.candles.value, func(x history.Candle) (e history.Entry, from, to int64) {
			return opening(x), x.Start, x.Start + c.length - 1
		})
	}
	return t
}

// opening returns the entry at the start of a candle.
func opening(c history.Candle) history.Entry {
	return history.Entry{Timestamp: c.Start, Price: c.Open, Low: c.Low, High: c.High, Confidence: c.Confidence}
}

// fill returns the rows, and coarser ones where no row is from one time to another, both included. Both are in the order of
// their times, and so is the result.
func fill[T any](rows []history.Entry, coarser []T, entry func(T) (e history.Entry, from, to int64)) []history.Entry {
	all := make([]history.Entry, 0, len(rows)+len(coarser))
	before, next := 0, 0 // the first row that is not before the coarse row's range; the first row that is not in all
	for _, c := range coarser {
		e, from, to := entry(c)
		for before < len(rows) && rows[before].Timestamp < from {
			before++
		}
		if before < len(rows) && rows[before].Timestamp <= to {
			continue
		}
		all = append(all, rows[next:before]...)
		next = before
		all = append(all, e)
	}
	return append(all, rows[next:]...)
}

// between returns the indices of the rows from one time to another, both included: the first one, and the one after the last.
func (t *timeline) between(from, to int64) (i, j int) {
	at := func(e history.Entry, t int64) int { return cmp.Compare(e.Timestamp, t) }
	i, _ = slices.BinarySearchFunc(t.rows, from, at)
	j, _ = slices.BinarySearchFunc(t.rows, to+1, at)
	return i, max(i, j)
}

// maxPoints is the largest number of points of one response. A chart has fewer pixels.
const maxPoints = 2000

// steps are the steps of up to a day that are chosen if the requested one gives too many points, in seconds. They divide a day.
// Longer ones are whole days.
var steps = [...]int64{10, 20, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 14400, 21600, 28800, 43200, history.Day}

// raise returns the requested step in seconds, or the next longer one that divides the time from one second to another into at
// most maxPoints steps.
func raise(step, from, to int64) int64 {
	fits := func(step int64) bool { return to/step-from/step < maxPoints }
	if fits(step) {
		return step
	}
	for _, s := range steps {
		if s > step && fits(s) {
			return s
		}
	}
	days := max(step/history.Day+1, (to-from)/(maxPoints*history.Day))
	for !fits(days * history.Day) {
		days++
	}
	return days * history.Day
}

// thin returns one entry for each step in seconds since 1970: the step's last one, with the lowest low and the highest high of
// the step.
func thin(entries []history.Entry, step int64) []history.Entry {
	thinned := make([]history.Entry, 0, min(len(entries), maxPoints))
	for i, e := range entries {
		if i > 0 && entries[i-1].Timestamp/step == e.Timestamp/step {
			last := &thinned[len(thinned)-1]
			e.Low, e.High = min(e.Low, last.Low), max(e.High, last.High)
			*last = e
			continue
		}
		thinned = append(thinned, e)
	}
	return thinned
}

// read returns a fetch function for a series. It counts and skips invalid rows.
func read[T interface{ AppendJSON(dst []byte) []byte }](a *API, s history.Series[T]) func(context.Context) ([]T, error) {
	return func(ctx context.Context) ([]T, error) {
		rows, invalid, err := s.ReadAll(ctx, a.redis)
		if err != nil {
			a.log.Warn("cannot fetch the history from redis; serving what is cached", "key", s.Key, "err", redisurl.Explain(err))
			return nil, err
		}
		if len(invalid) > 0 {
			a.rejected.Add(float64(len(invalid)))
			a.logRejected.Do(func() {
				a.log.Warn("skipped rows of the history", "rows", len(invalid), "err", invalid[0])
			})
		}
		return rows, nil
	}
}

// fetchNewer reports whether a newer version has written the history.
func (a *API) fetchNewer(ctx context.Context) (bool, error) {
	_, err := history.CheckSchema(ctx, a.redis)
	if errors.Is(err, history.ErrNewer) {
		a.logRejected.Do(func() { a.log.Warn("cannot serve the history", "err", err) })
		return true, nil
	}
	if err != nil {
		a.log.Warn("cannot fetch the history's schema from redis", "err", redisurl.Explain(err))
	}
	return false, err
}
