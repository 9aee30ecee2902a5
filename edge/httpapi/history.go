package httpapi

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/gofiber/fiber/v2"

	"sightglass/shared/history"
)

const (
	// historyCaching lets HTTP caches serve the history, which changes every 10 s.
	historyCaching = "public, max-age=5"

	csvType = "text/csv; charset=utf-8"

	maxSecond = 1 << 40           // the largest valid time, unix seconds: in 35,000 years
	maxStep   = 366 * history.Day // seconds
)

// History serves /api/v1/history?from=&to=&step=&format=.
func (a *API) History(c *fiber.Ctx) error {
	now := time.Now()
	s, err := parseSpan(c, now)
	if err != nil {
		return fiber.NewError(fiber.StatusBadRequest, err.Error())
	}
	format := "json"
	if args := c.Context().QueryArgs(); args.Has("format") {
		format = string(args.Peek("format"))
	}
	if format != "json" && format != "csv" {
		return fiber.NewError(fiber.StatusBadRequest, fmt.Sprintf("format %.40q: want json or csv", format))
	}
	all, err := a.timeline(now)
	if err != nil {
		return noHistory(c, err)
	}
	i, j := all.value.between(s.from, s.to)
	rows := all.value.rows[i:j]
	if len(rows) > 0 {
		s.step = raise(s.step, rows[0].Timestamp, rows[len(rows)-1].Timestamp)
	}
	type key struct { // not s: later requests for the last day have the same rows until there is a new one
		i, j int
		step int64
		csv  bool
	}
	return all.response(key{i, j, s.step, format == "csv"}, func() *Response {
		if format == "csv" {
			return historyCSV(rows, s.step)
		}
		return historyResponse(rows, s.step)
	}).Send(c)
}

// noHistory responds to an error of timeline, or errIncomplete.
func noHistory(c *fiber.Ctx, err error) error {
	if errors.Is(err, errNewer) || errors.Is(err, errIncomplete) {
		return unavailable(c, err.Error(), recentTTL)
	}
	return unavailable(c, "no history yet", recentTTL)
}

// historyResponse returns the entries, one for each step, as JSON.
func historyResponse(entries []history.Entry, step int64) *Response {
	body := append([]byte(`{"step":`), strconv.FormatInt(step, 10)...)
	body = append(body, `,"points":[`...)
	for i, e := range thin(entries, step) {
		if i > 0 {
			body = append(body, ',')
		}
		body = e.AppendJSON(body)
	}
	return NewResponse(append(body, `]}`...), jsonType, historyCaching)
}

// historyCSV returns the entries, one for each step, as lines that end as RFC 4180 wants it.
func historyCSV(entries []history.Entry, step int64) *Response {
	body, row := []byte("time,price,low,high,confidence\r\n"), []byte(nil)
	for _, e := range thin(entries, step) {
		row = e.AppendJSON(row[:0])
		body = append(body, row[1:len(row)-1]...) // without the brackets
		body = append(body, "\r\n"...)
	}
	return NewResponse(body, csvType, historyCaching)
}

// A span is the requested part of the history.
type span struct{ from, to, step int64 } // unix seconds, both included; seconds

// parseSpan parses from, to and step. Its error names the invalid parameter and the valid values.
func parseSpan(c *fiber.Ctx, now time.Time) (s span, err error) {
	if s.to, err = parameter(c, "to", now.Unix(), 0, maxSecond); err != nil {
		return s, err
	}
	if s.from, err = parameter(c, "from", max(0, s.to-history.Day), 0, maxSecond); err != nil {
		return s, err
	}
	if s.from > s.to {
		return s, fmt.Errorf("from %d: want a time before to, which is %d", s.from, s.to)
	}
	s.step, err = parameter(c, "step", history.Slot, history.Slot, maxStep)
	return s, err
}

// parameter parses a parameter in whole seconds. Its error names the parameter and the valid values.
func parameter(c *fiber.Ctx, name string, absent, least, most int64) (int64, error) {
	return number(c, name, "whole seconds", absent, least, most)
}

// number parses a parameter that is a whole number of something. Its error names the parameter and the valid values.
func number(c *fiber.Ctx, name, of string, absent, least, most int64) (int64, error) {
	args := c.Context().QueryArgs()
	if !args.Has(name) {
		return absent, nil
	}
	n, err := strconv.ParseInt(string(args.Peek(name)), 10, 64)
	if err != nil || n < least || n > most {
		return 0, fmt.Errorf("%s %.40q: want %s from %d to %d", name, args.Peek(name), of, least, most)
	}
	return n, nil
}
