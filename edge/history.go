package edge

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/gofiber/fiber/v2"

	"sightglass/edge/archive"
	"sightglass/shared/history"
)

const (
	day       = 24 * 60 * 60 // seconds
	maxSecond = 1 << 40      // unix seconds, for 35,000 years: beyond it is no time
)

// A past answers for the price's course.
type past struct {
	archive *archive.Archive
	answers answers[archive.Course, view]
}

// A view is what of a course an answer shows.
type view struct {
	i, j int   // Entries[i:j]
	step int64 // seconds
}

// history answers /api/v1/history.
func (p *past) history(c *fiber.Ctx) error {
	now := time.Now()
	asked, err := parseSpan(c, now)
	if err != nil {
		return fiber.NewError(fiber.StatusBadRequest, err.Error())
	}
	course, err := p.archive.Read(context.Background(), now) // the client's timeouts bound it; the request is used again
	if err != nil {
		return unavailable(c, err, "no history yet", archive.Fresh)
	}
	i, j := course.Between(asked.from, asked.to)
	return p.answers.of(course, view{i, j, asked.step}, func() *answer {
		return newHistoryAnswer(course.Entries[i:j], asked.step)
	}).send(c)
}

// unavailable answers that what is asked for is not there yet, and when to ask again. Another error stays what it is.
func unavailable(c *fiber.Ctx, err error, message string, again time.Duration) error {
	if !errors.Is(err, archive.ErrUnavailable) {
		return err
	}
	c.Set(fiber.HeaderRetryAfter, strconv.Itoa(int(again.Seconds())))
	return fiber.NewError(fiber.StatusServiceUnavailable, message)
}

// newHistoryAnswer writes the last entry of each step.
func newHistoryAnswer(entries []history.Entry, step int64) *answer {
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
	body = append(body, `]}`...)
	return fixed(body, jsonType, historyCaching)
}

// historyCaching lets caches in front take the load: what is there changes once in 10 s.
const historyCaching = "public, max-age=5"

// A span is what a client asks for.
type span struct{ from, to, step int64 } // unix seconds, both included; seconds

// parseSpan reads from, to and step; its error names the parameter that is wrong and says what it may be.
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
