package httpapi

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/gofiber/fiber/v2"

	"sightglass/shared/history"
	"sightglass/shared/redisurl"
)

const (
	// historyTTL is half the interval between two entries.
	historyTTL = history.Slot * time.Second / 2
	// historyCaching lets HTTP caches serve the history, which changes every 10 s.
	historyCaching = "public, max-age=5"

	day       = 24 * 60 * 60 // seconds
	maxSecond = 1 << 40      // the largest valid time, unix seconds: in 35,000 years
)

// History serves /api/v1/history?from=&to=&step=.
func (a *API) History(c *fiber.Ctx) error {
	now := time.Now()
	s, err := parseSpan(c, now)
	if err != nil {
		return fiber.NewError(fiber.StatusBadRequest, err.Error())
	}
	all, err := a.history.get(context.Background(), now) // bounded by the Redis client's timeouts; fasthttp reuses the request
	if err != nil {
		return unavailable(c, "no history yet", historyTTL)
	}
	at := func(e history.Entry, t int64) int { return int(e.Timestamp - t) }
	i, _ := slices.BinarySearchFunc(all.value, s.from, at)
	j, _ := slices.BinarySearchFunc(all.value, s.to+1, at)
	j = max(i, j)
	return all.response([3]int64{int64(i), int64(j), s.step}, func() *Response {
		return historyResponse(all.value[i:j], s.step)
	}).Send(c)
}

// historyResponse returns the last entry of each step.
func historyResponse(entries []history.Entry, step int64) *Response {
	body := append([]byte(`{"step":`), strconv.FormatInt(step, 10)...)
	body = append(body, `,"points":[`...)
	first := true
	for k, e := range entries {
		if k+1 < len(entries) && entries[k+1].Timestamp/step == e.Timestamp/step {
			continue
		}
		if !first {
			body = append(body, ',')
		}
		first = false
		body = e.AppendJSON(body)
	}
	return NewResponse(append(body, `]}`...), jsonType, historyCaching)
}

// fetchHistory reads the entries, oldest first. It skips entries that are invalid or out of order.
func (a *API) fetchHistory(ctx context.Context) ([]history.Entry, error) {
	members, err := a.redis.ZRange(ctx, history.KeyRecent, -history.MaxRecent, -1).Result()
	if err != nil {
		a.log.Warn("cannot fetch the history from redis; serving the cached one", "err", redisurl.Explain(err))
		return nil, err
	}
	entries := make([]history.Entry, 0, len(members))
	for _, member := range members {
		e, err := history.DecodeEntry([]byte(member))
		if n := len(entries); err == nil && n > 0 && e.Timestamp <= entries[n-1].Timestamp {
			err = fmt.Errorf("timestamp %d after %d", e.Timestamp, entries[n-1].Timestamp)
		}
		if err != nil {
			a.rejected.Inc()
			a.logRejected.Do(func() { a.log.Warn("skipped an entry of the history", "err", err) })
			continue
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// A span is the requested part of the history.
type span struct{ from, to, step int64 } // unix seconds, both included; seconds

// parseSpan parses from, to and step. Its error names the invalid parameter and the valid values.
func parseSpan(c *fiber.Ctx, now time.Time) (s span, err error) {
	if s.to, err = parameter(c, "to", now.Unix(), 0, maxSecond); err != nil {
		return s, err
	}
	if s.from, err = parameter(c, "from", max(0, s.to-day), 0, maxSecond); err != nil {
		return s, err
	}
	if s.from > s.to {
		return s, fmt.Errorf("from %d: want a time before to, which is %d", s.from, s.to)
	}
	s.step, err = parameter(c, "step", history.Slot, history.Slot, day)
	return s, err
}

func parameter(c *fiber.Ctx, name string, absent, least, most int64) (int64, error) {
	args := c.Context().QueryArgs()
	if !args.Has(name) {
		return absent, nil
	}
	n, err := strconv.ParseInt(string(args.Peek(name)), 10, 64)
	if err != nil || n < least || n > most {
		return 0, fmt.Errorf("%s %.40q: want whole seconds from %d to %d", name, args.Peek(name), least, most)
	}
	return n, nil
}
