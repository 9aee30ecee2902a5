package httpapi

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"

	"sightglass/shared/history"
)

// Two paths respond in the form of mempool.space's API, which many wallets and displays use:
// https://mempool.space/docs/api/rest#get-price and #get-historical-price. Only dollars are known here.

// Prices serves /api/v1/prices. As there, the price is in whole dollars: some clients accept no others. The keys of currencies
// that are not known are absent, and not -1 as there, which clients that do not know it show as a price.
func (a *API) Prices(c *fiber.Ctx) error {
	s, err := a.current(c)
	if err != nil {
		return err
	}
	body := strconv.AppendInt([]byte(`{"time":`), int64(s.Timestamp), 10)
	body = strconv.AppendInt(append(body, `,"USD":`...), int64(math.Round(s.Price)), 10)
	return NewResponse(append(body, '}'), jsonType, "no-cache").Send(c)
}

// HistoricalPrice serves /api/v1/historical-price?currency=&timestamp=.
func (a *API) HistoricalPrice(c *fiber.Ctx) error {
	// 0, or an empty value, means all prices there; a fraction of a second is accepted.
	text, _, _ := strings.Cut(c.Query("timestamp", "0"), ".")
	at, err := strconv.ParseInt(text, 10, 64)
	if err != nil || at < 0 {
		return fiber.NewError(fiber.StatusBadRequest, "timestamp: want unix seconds, or 0 for all prices")
	}
	if c.Query("currency", "USD") != "USD" {
		return NewResponse(nil, textType, historyCaching).Send(c) // as there, for a currency that is not known
	}
	now := time.Now()
	all, err := a.timeline(now)
	if err != nil {
		return noHistory(c, err)
	}
	t := &all.value
	if at == 0 {
		return all.response("historical-price", func() *Response { return conversion(t.newestFirst()) }).Send(c)
	}
	// As there, a time in the future has the newest price, and a time without a price has the one before it. Its time says so.
	at = min(at, now.Unix())
	if q, ok := t.at(at); ok {
		return conversion([]history.Entry{q.Entry}).Send(c)
	}
	if t.incomplete() {
		return noHistory(c, errIncomplete)
	}
	if e := lastBefore(t.rows, at, func(e history.Entry) int64 { return e.Timestamp }); e != nil {
		return conversion([]history.Entry{*e}).Send(c)
	}
	return conversion(nil).Send(c)
}

// newestFirst returns the whole history in at most maxPoints steps, the newest one first.
func (t *timeline) newestFirst() []history.Entry {
	if len(t.rows) == 0 {
		return nil
	}
	points := thin(t.rows, raise(history.Slot, t.rows[0].Timestamp, t.rows[len(t.rows)-1].Timestamp))
	slices.Reverse(points)
	return points
}

// conversion returns a response with prices. exchangeRates are those between dollars and other currencies.
func conversion(entries []history.Entry) *Response {
	body := []byte(`{"prices":[`)
	for i, e := range entries {
		if i > 0 {
			body = append(body, ',')
		}
		body = strconv.AppendInt(append(body, `{"time":`...), e.Timestamp, 10)
		body = strconv.AppendFloat(append(body, `,"USD":`...), e.Price, 'f', 2, 64)
		body = append(body, '}')
	}
	return NewResponse(append(body, `],"exchangeRates":{}}`...), jsonType, historyCaching)
}
