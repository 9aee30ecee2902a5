package httpapi

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/gofiber/fiber/v2"

	"sightglass/shared/contract"
	"sightglass/shared/history"
)

const (
	// entryHolds and blockHolds are how long the price of an entry and of a block counts, in seconds. In two hours there is
	// nearly always a block.
	entryHolds = 10 * 60
	blockHolds = 2 * history.Hour

	// clockSkew is how far ahead a client's clock may be, in seconds.
	clockSkew = 60

	maxHeight = 1 << 31 // the largest valid height of a block

	textType = fiber.MIMETextPlainCharsetUTF8
)

// A NoPriceError is the error for a time or a block without a price. It means 404, and its text is for clients.
type NoPriceError string

func (e NoPriceError) Error() string { return string(e) }

// Price serves /price: the price in dollars with two decimals and a line feed, for shell scripts and microcontrollers.
func (a *API) Price(c *fiber.Ctx) error {
	s, err := a.current(c)
	if err != nil {
		return err
	}
	return NewResponse(append(strconv.AppendFloat(nil, s.Price, 'f', 2, 64), '\n'), textType, "no-cache").Send(c)
}

// current returns the newest snapshot, if its price may be served without the status: if it is not old and not uncertain. The
// error responds with 503.
func (a *API) current(c *fiber.Ctx) (*contract.Snapshot, error) {
	update := a.latest()
	switch {
	case update == nil:
		return nil, unavailable(c, "no price yet", time.Second)
	case update.Snapshot.Status == contract.Stale:
		return nil, unavailable(c, "no current price: the last one is stale; /api/v1/snapshot has it", time.Second)
	case update.Snapshot.Status == contract.Warming || update.Snapshot.Price <= 0:
		return nil, unavailable(c, "no price yet: there is too little evidence for one", time.Second)
	}
	return update.Snapshot, nil
}

// A quote is the price at one time, or of one block.
type quote struct {
	history.Entry        // its time is that of the entry or the block; in a candle, the requested one
	resolution    string // 10s, block, hour or day
	height        int64  // of the block, or the candle's last one; 0 if it is not known
}

// PriceAt serves /api/v1/price?at= and ?height=.
func (a *API) PriceAt(c *fiber.Ctx) error {
	args := c.Context().QueryArgs()
	byHeight := args.Has("height")
	if args.Has("at") == byHeight {
		return fiber.NewError(fiber.StatusBadRequest, "want either at, a time in unix seconds, or height, that of a block; /api/v1/snapshot has the price now")
	}
	at, err := parameter(c, "at", 0, 0, maxSecond)
	if err != nil {
		return fiber.NewError(fiber.StatusBadRequest, err.Error())
	}
	height, err := number(c, "height", "a block's height", 0, 0, maxHeight)
	if err != nil {
		return fiber.NewError(fiber.StatusBadRequest, err.Error())
	}
	now := time.Now()
	all, err := a.timeline(now)
	if err != nil {
		return noHistory(c, err)
	}
	t := &all.value
	var q quote
	var ok bool
	switch {
	case byHeight:
		q, ok = t.ofBlock(height)
	case at > now.Unix()+clockSkew:
		return NoPriceError(fmt.Sprintf("no price for %d, which is in the future: %s", at, t.times()))
	default:
		q, ok = t.at(at)
	}
	switch {
	case ok:
		return q.response().Send(c)
	case t.incomplete():
		return noHistory(c, errIncomplete)
	case byHeight:
		return NoPriceError(fmt.Sprintf("no price for block %d: %s", height, t.heights()))
	default:
		return NoPriceError(fmt.Sprintf("no price for %d: %s", at, t.times()))
	}
}

func (q quote) response() *Response {
	body := fmt.Appendf(nil, `{"price":%.2f,"low":%.2f,"high":%.2f,"confidence":%.3f,"time":%d,"resolution":%q`,
		q.Price, q.Low, q.High, q.Confidence, q.Timestamp, q.resolution)
	if q.height > 0 {
		body = fmt.Appendf(body, `,"height":%d`, q.height)
	}
	return NewResponse(append(body, '}'), jsonType, historyCaching)
}

// A candleSeries is one of the series of candles.
type candleSeries struct {
	name   string
	length int64 // seconds
	rows   []history.Candle
}

// candles returns the series of candles, the finer one first.
func (t *timeline) candles() (all []candleSeries) {
	if t.parts.hours != nil {
		all = append(all, candleSeries{"hour", history.Hour, t.parts.hours.value})
	}
	if t.parts.days != nil {
		all = append(all, candleSeries{"day", history.Day, t.parts.days.value})
	}
	return all
}

// at returns the price at a time, in unix seconds: that of the entry or the block before it, if it still counts; else one of
// the candle that it is in.
func (t *timeline) at(at int64) (quote, bool) {
	if t.parts.recent != nil {
		if e := lastBefore(t.parts.recent.value, at, func(e history.Entry) int64 { return e.Timestamp }); e != nil && at-e.Timestamp <= entryHolds {
			return quote{Entry: *e, resolution: "10s"}, true
		}
	}
	if b := lastBefore(t.blocks, at, func(b history.Block) int64 { return b.Timestamp }); b != nil && at-b.Timestamp <= blockHolds {
		return quote{Entry: b.Entry, resolution: "block", height: b.Height}, true
	}
	for _, s := range t.candles() {
		if c := lastBefore(s.rows, at, func(c history.Candle) int64 { return c.Start }); c != nil && at < c.Start+s.length {
			return s.within(*c, float64(at-c.Start)/float64(s.length)), true
		}
	}
	return quote{}, false
}

// lastBefore returns the last row at a time or before it; nil if there is none. The rows are in the order of their times.
func lastBefore[T any](rows []T, at int64, timeOf func(T) int64) *T {
	i, _ := slices.BinarySearchFunc(rows, at+1, func(row T, t int64) int { return cmp.Compare(timeOf(row), t) })
	if i == 0 {
		return nil
	}
	return &rows[i-1]
}

// within returns the price after a share, 0 to 1, of a candle's time. Prices change by factors, so it is the weighted geometric
// mean of the candle's first and last price.
func (s candleSeries) within(c history.Candle, share float64) quote {
	e := opening(c)
	e.Timestamp += int64(math.Round(share * float64(s.length)))
	if c.Open > 0 {
		e.Price = c.Open * math.Pow(c.Close/c.Open, share)
	}
	return quote{Entry: e, resolution: s.name, height: c.Height}
}

// ofBlock returns the price of the block at a height. If it is known only that the block is in a candle, its time is estimated
// from the candle's heights, and the price is that of this time.
func (t *timeline) ofBlock(height int64) (quote, bool) {
	if i := slices.IndexFunc(t.blocks, func(b history.Block) bool { return b.Height == height }); i >= 0 {
		return quote{Entry: t.blocks[i].Entry, resolution: "block", height: height}, true
	}
	for _, s := range t.candles() {
		if c, first := s.ofBlock(height); c != nil {
			q := s.within(*c, (float64(height-first)+0.5)/float64(c.Height-first+1))
			q.height = height
			return q, true
		}
	}
	return quote{}, false
}

// ofBlock returns the candle of the block at a height, and the height of the candle's first block. The first block is the one
// after the last of the candle before, if that is of the hour or the day before; else it is known only how many blocks with a
// price the candle has, and those before them are in no candle.
func (s candleSeries) ofBlock(height int64) (in *history.Candle, first int64) {
	before := history.Candle{Start: -s.length - 1}
	for i := range s.rows {
		c := &s.rows[i]
		if c.Blocks == 0 {
			continue
		}
		if c.Height < height {
			before = *c
			continue
		}
		first = c.Height - c.Blocks + 1
		if c.Start-before.Start == s.length {
			first = min(first, before.Height+1)
		}
		if height < first {
			return nil, 0
		}
		return c, first
	}
	return nil, 0
}

// times says from when to when there are prices.
func (t *timeline) times() string {
	if len(t.rows) == 0 {
		return "there is no history yet"
	}
	first, last := t.rows[0].Timestamp, t.rows[len(t.rows)-1].Timestamp
	text := func(unix int64) string { return time.Unix(unix, 0).UTC().Format(time.DateTime) }
	return fmt.Sprintf("there are prices from %d to %d (%s to %s UTC)", first, last, text(first), text(last))
}

// heights says of which blocks there are prices.
func (t *timeline) heights() string {
	first, last := int64(math.MaxInt64), int64(0)
	for _, b := range t.blocks {
		first, last = min(first, b.Height), max(last, b.Height)
	}
	for _, s := range t.candles() {
		for _, c := range s.rows {
			if c.Blocks > 0 {
				first, last = min(first, c.Height-c.Blocks+1), max(last, c.Height)
			}
		}
	}
	if last == 0 {
		return "there are no prices of blocks yet"
	}
	return fmt.Sprintf("there are prices of blocks %d to %d", first, last)
}
