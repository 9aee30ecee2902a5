package httpapi

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/gofiber/fiber/v2"
	"github.com/prometheus/client_golang/prometheus"

	"sightglass/edge/feed"
	"sightglass/shared/contract"
	"sightglass/shared/history"
)

// TestPrice_OnlyCurrentOnes: a price without a status beside it must be one that the status does not qualify.
func TestPrice_OnlyCurrentOnes(t *testing.T) {
	for name, c := range map[string]struct {
		snapshot     *contract.Snapshot
		text, prices string // bodies; empty for 503
	}{
		"none":                 {},
		"live":                 {&contract.Snapshot{Timestamp: 1556771672.25, Price: 116754.75, Status: contract.Live}, "116754.75\n", `{"time":1556771672,"USD":116755}`},
		"contested":            {&contract.Snapshot{Timestamp: 1, Price: 0.4, Status: contract.Contested}, "0.40\n", `{"time":1,"USD":0}`},
		"of a later version":   {&contract.Snapshot{Timestamp: 1, Price: 100, Status: "new"}, "100.00\n", `{"time":1,"USD":100}`},
		"stale":                {snapshot: &contract.Snapshot{Timestamp: 1, Price: 100, Status: contract.Stale}},
		"warming":              {snapshot: &contract.Snapshot{Timestamp: 1, Price: 100, Status: contract.Warming}},
		"live without a price": {snapshot: &contract.Snapshot{Timestamp: 1, Status: contract.Live}},
	} {
		t.Run(name, func(t *testing.T) {
			latest := func() *feed.Update {
				if c.snapshot == nil {
					return nil
				}
				return &feed.Update{Snapshot: c.snapshot}
			}
			a := New(latest, nil, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
			app := fiber.New()
			app.Get("/text", a.Price)
			app.Get("/prices", a.Prices)
			for path, want := range map[string]string{"/text": c.text, "/prices": c.prices} {
				response, err := app.Test(httptest.NewRequest(http.MethodGet, path, nil))
				if err != nil {
					t.Fatal(err)
				}
				body, err := io.ReadAll(response.Body)
				if err != nil {
					t.Fatal(err)
				}
				if want == "" {
					if response.StatusCode != http.StatusServiceUnavailable || response.Header.Get("Retry-After") != "1" {
						t.Errorf("%s: got %d with Retry-After %q, want 503 and 1", path, response.StatusCode, response.Header.Get("Retry-After"))
					}
				} else if response.StatusCode != http.StatusOK || string(body) != want || response.Header.Get("ETag") == "" {
					t.Errorf("%s: got %d with %q, ETag %q, want 200 with %q and an ETag", path, response.StatusCode, body, response.Header.Get("ETag"), want)
				}
			}
		})
	}
}

// past is a history of all series: entries at hour and hour+10; blocks 98 to 100 from two hours before; candles of the hours
// before them, one of them missing, and of two days.
var past = merged(
	[]history.Entry{entry(hour, 1), entry(hour+10, 2)},
	[]history.Block{block(98, hour-7200, 98), block(100, hour-3700, 100), block(99, hour-3600, 99)},
	[]history.Candle{
		candle(hour-7*3600, 300, 400, 0, 0), candle(hour-6*3600, 400, 100, 2, 80), candle(hour-5*3600, 100, 400, 5, 90),
		candle(hour-3*3600, 50, 50, 3, 97),
	},
	[]history.Candle{candle(hour-3*history.Day, 1000, 4000, 10, 20), candle(hour-history.Day, 7, 7, 50, 100), candle(hour, 8, 8, 0, 0)},
)

func TestTimeline_PriceAt(t *testing.T) {
	for name, c := range map[string]struct {
		at         int64
		resolution string
		price      float64
		time       int64
		height     int64
	}{
		"an entry":                         {hour + 10, "10s", 2, hour + 10, 0},
		"between entries":                  {hour + 9, "10s", 1, hour, 0},
		"ten minutes after an entry":       {hour + 610, "10s", 2, hour + 10, 0},
		"later":                            {hour + 611, "block", 99, hour - 3600, 99},
		"a block":                          {hour - 3600, "block", 99, hour - 3600, 99},
		"a block before its predecessor":   {hour - 3601, "block", 100, hour - 3700, 100},
		"two hours after a block":          {hour + 3600, "block", 99, hour - 3600, 99},
		"then the day":                     {hour + 3601, "day", 8, hour + 3601, 0},
		"the first second of an hour":      {hour - 5*3600, "hour", 100, hour - 5*3600, 90},
		"the middle of an hour":            {hour - 5*3600 + 1800, "hour", 200, hour - 5*3600 + 1800, 90}, // 100 to 400
		"falling":                          {hour - 6*3600 + 1800, "hour", 200, hour - 6*3600 + 1800, 80},
		"of entries":                       {hour - 7*3600, "hour", 300, hour - 7*3600, 0},
		"an hour without a candle":         {hour - 4*3600, "day", 7, hour - 4*3600, 100},
		"the middle of a day":              {hour - 5*history.Day/2, "day", 2000, hour - 5*history.Day/2, 20},
		"a day without a candle":           {at: hour - 2*history.Day},
		"before everything":                {at: 1},
		"the second after the last candle": {at: hour + history.Day},
	} {
		t.Run(name, func(t *testing.T) {
			q, ok := past.at(c.at)
			if ok != (c.resolution != "") || q.resolution != c.resolution || int64(q.Price+0.5) != int64(c.price+0.5) || q.Timestamp != c.time || q.height != c.height {
				t.Errorf("got %+v, %v, want %+v", q, ok, c)
			}
		})
	}
}

func TestTimeline_PriceOfBlock(t *testing.T) {
	for name, c := range map[string]struct {
		height     int64
		resolution string
		price      float64
		time       int64
	}{
		"a block":                       {100, "block", 100, hour - 3700},
		"the last one of an hour":       {90, "hour", 373, hour - 5*3600 + 3420}, // 81 to 90: the price after 19 twentieths
		"the one after the hour before": {81, "hour", 107, hour - 5*3600 + 180},
		"the first hour's blocks":       {79, "hour", 283, hour - 6*3600 + 900}, // 79 and 80
		"before the first hour's":       {78, "day", 7, hour - history.Day + 47520},
		"blocks after a gap":            {95, "hour", 50, hour - 3*3600 + 600}, // 95 to 97
		"in a gap":                      {94, "day", 7, hour - history.Day + 75168},
		"the first day's blocks":        {11, "day", 1072, hour - 3*history.Day + 4320}, // 11 to 20
		"before everything":             {height: 10},
		"between days":                  {height: 50},
		"the future":                    {height: 101},
		"zero":                          {height: 0},
	} {
		t.Run(name, func(t *testing.T) {
			q, ok := past.ofBlock(c.height)
			if ok != (c.resolution != "") || q.resolution != c.resolution || int64(q.Price+0.5) != int64(c.price+0.5) || q.Timestamp != c.time {
				t.Errorf("got %+v, %v, want %+v", q, ok, c)
			}
			if ok && q.height != c.height {
				t.Errorf("got height %d, want %d", q.height, c.height)
			}
		})
	}
}
