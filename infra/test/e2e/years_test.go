package e2e

import (
	"encoding/csv"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"sightglass/infra/test/internal/programs"
	"sightglass/infra/test/internal/redistest"
	"sightglass/shared/history"
)

// midnight is the start of the day in which began is.
const midnight = 1556755200

// storeYears writes a history with rows in all series: two days, ten hours in the second one, and after them three blocks and
// six entries.
func storeYears(t *testing.T, server *redistest.Server) {
	t.Helper()
	client := server.Client()
	var days, hours []history.Candle
	for i, price := range []float64{1000, 2000} {
		days = append(days, history.Candle{
			Start: midnight + int64(i-2)*history.Day, Open: price, High: price * 1.5, Low: price / 2, Close: price + 100,
			Confidence: 0.8, Blocks: 144, Height: int64(574200 - (2-i)*144),
		})
	}
	for i := range 10 {
		price := 3000 + float64(i)*10
		hours = append(hours, history.Candle{
			Start: midnight + int64(i-11)*history.Hour, Open: price, High: price + 9, Low: price - 9, Close: price + 5,
			Confidence: 0.7, Blocks: 6, Height: int64(574002 + (i+1)*6),
		})
	}
	var blocks []history.Block
	for i := range 3 {
		at := midnight + int64(i)*600
		blocks = append(blocks, history.Block{
			Entry: history.Entry{Timestamp: at, Price: 4000 + float64(i), Low: 3990, High: 4010, Confidence: 0.6}, Height: int64(574063 + i),
		})
	}
	fill(t, client, began, 6)
	for _, err := range []error{
		history.Days.Write(t.Context(), client, days...), history.Hours.Write(t.Context(), client, hours...),
		history.Blocks.Write(t.Context(), client, blocks...), client.Set(t.Context(), history.KeySchema, history.Schema, 0).Err(),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestAPI_HistoryOfYears: rows of all four series are one history, as JSON and as CSV.
func TestAPI_HistoryOfYears(t *testing.T) {
	server := redistest.Start(t)
	storeYears(t, server)
	e := edgeWith(t, server, unchanged)
	var got struct {
		Step   int64
		Points [][5]float64
	}
	getJSON(t, e, "/api/v1/history?from=0", &got)
	var times []int64
	for _, p := range got.Points {
		times = append(times, int64(p[0])-midnight)
	}
	// The second day's candle is hidden by its hours, and the six entries are in one step of the 52.6 h.
	want := []int64{-172800, -39600, -36000, -32400, -28800, -25200, -21600, -18000, -14400, -10800, -7200, 0, 600, 1200, 16520}
	if got.Step != 120 || fmt.Sprint(times) != fmt.Sprint(want) {
		t.Errorf("got step %d and times %v since midnight, want 120 and %v", got.Step, times, want)
	}
	if first := got.Points[0]; first != [5]float64{midnight - 172800, 1000, 500, 1500, 0.8} {
		t.Errorf("got the first point %v, want the day's open, low and high", first)
	}

	table := ask(t, "GET", e, "/api/v1/history?from=0&format=csv", nil)
	rows, err := csv.NewReader(strings.NewReader(string(table.body))).ReadAll()
	if err != nil || table.Header.Get("Content-Type") != "text/csv; charset=utf-8" || !strings.HasSuffix(string(table.body), "\r\n") {
		t.Errorf("got %v, Content-Type %q, want CSV", err, table.Header.Get("Content-Type"))
	}
	if len(rows) != len(want)+1 || strings.Join(rows[0], ",") != "time,price,low,high,confidence" ||
		strings.Join(rows[1], ",") != "1556582400,1000.00,500.00,1500.00,0.800" {
		t.Errorf("got rows %v, want a header and the points", rows)
	}
	if empty := ask(t, "GET", e, "/api/v1/history?from=0&to=1&format=csv", nil); string(empty.body) != "time,price,low,high,confidence\r\n" {
		t.Errorf("got %q of a span without points, want the header", empty.body)
	}
}

func TestAPI_PriceAtTimeOrBlock(t *testing.T) {
	server := redistest.Start(t)
	storeYears(t, server)
	e := edgeWith(t, server, unchanged)
	for query, want := range map[string]string{
		"at=1556771675":  `{"price":1.00,"low":0.00,"high":0.00,"confidence":0.000,"time":1556771670,"resolution":"10s"}`,
		"at=1556756000":  `{"price":4001.00,"low":3990.00,"high":4010.00,"confidence":0.600,"time":1556755800,"resolution":"block","height":574064}`,
		"at=1556717400":  `{"price":3002.50,"low":2991.00,"high":3009.00,"confidence":0.700,"time":1556717400,"resolution":"hour","height":574008}`,
		"at=1556625600":  `{"price":1048.81,"low":500.00,"high":1500.00,"confidence":0.800,"time":1556625600,"resolution":"day","height":573912}`,
		"height=574064":  `{"price":4001.00,"low":3990.00,"high":4010.00,"confidence":0.600,"time":1556755800,"resolution":"block","height":574064}`,
		"height=574003":  `{"price":3000.42,"low":2991.00,"high":3009.00,"confidence":0.700,"time":1556715900,"resolution":"hour","height":574003}`,
		"height=573769":  `{"price":1000.33,"low":500.00,"high":1500.00,"confidence":0.800,"time":1556582700,"resolution":"day","height":573769}`,
		"height=0573769": `{"price":1000.33,"low":500.00,"high":1500.00,"confidence":0.800,"time":1556582700,"resolution":"day","height":573769}`,
	} {
		t.Run(query, func(t *testing.T) {
			got := ask(t, "GET", e, "/api/v1/price?"+query, nil)
			if got.StatusCode != http.StatusOK || string(got.body) != want {
				t.Errorf("got %s with %s, want %s", got.Status, got.body, want)
			}
		})
	}
	for query, want := range map[string]struct {
		status  int
		message string
	}{
		"":                         {http.StatusBadRequest, "want either at"},
		"at=1&height=1":            {http.StatusBadRequest, "want either at"},
		"at=":                      {http.StatusBadRequest, "at "},
		"at=yesterday":             {http.StatusBadRequest, "at "},
		"height=-1":                {http.StatusBadRequest, "height "},
		"at=1556582399":            {http.StatusNotFound, "1556582400 to 1556771720 (2019-04-30 00:00:00 to 2019-05-02 04:35:20 UTC)"},
		"at=1556773000":            {http.StatusNotFound, "no price for 1556773000"},
		"at=4000000000":            {http.StatusNotFound, "in the future"},
		"height=573768":            {http.StatusNotFound, "blocks 573769 to 574065"},
		"height=574066":            {http.StatusNotFound, "blocks 573769 to 574065"},
		"height=2147483648&colour": {http.StatusNotFound, "no price for block 2147483648"},
	} {
		t.Run(query, func(t *testing.T) {
			if message := expectError(t, ask(t, "GET", e, "/api/v1/price?"+query, nil), want.status); !strings.Contains(message, want.message) {
				t.Errorf("got the message %q, want %q in it", message, want.message)
			}
		})
	}
}

// TestAPI_HistoricalPrice: in the form of mempool.space's API.
func TestAPI_HistoricalPrice(t *testing.T) {
	server := redistest.Start(t)
	storeYears(t, server)
	e := edgeWith(t, server, unchanged)
	at := func(time, price string) string {
		return `{"prices":[{"time":` + time + `,"USD":` + price + `}],"exchangeRates":{}}`
	}
	for query, want := range map[string]string{
		"currency=USD&timestamp=1556771675":    at("1556771670", "1.00"),
		"timestamp=1556717400":                 at("1556717400", "3002.50"),
		"timestamp=1556717400.75":              at("1556717400", "3002.50"),
		"currency=USD&timestamp=1600000000":    at("1556771720", "6.00"), // the last one before
		"currency=USD&timestamp=4000000000":    at("1556771720", "6.00"),
		"currency=USD&timestamp=1785999999999": at("1556771720", "6.00"), // milliseconds
		"currency=USD&timestamp=1":             `{"prices":[],"exchangeRates":{}}`,
		"currency=EUR&timestamp=1556771675":    "",
		"currency=":                            "", // replaced below: all prices
	} {
		t.Run(query, func(t *testing.T) {
			if query == "currency=" {
				want = string(ask(t, "GET", e, "/api/v1/historical-price", nil).body)
			}
			got := ask(t, "GET", e, "/api/v1/historical-price?"+query, nil)
			if got.StatusCode != http.StatusOK || string(got.body) != want {
				t.Errorf("got %s with %s, want %s", got.Status, got.body, want)
			}
		})
	}
	var all struct {
		Prices []struct {
			Time int64
			USD  float64
		}
	}
	getJSON(t, e, "/api/v1/historical-price?currency=USD", &all)
	if n := len(all.Prices); n != 15 || all.Prices[0].Time != 1556771720 || all.Prices[n-1].USD != 1000 {
		t.Errorf("got %v, want all prices, the newest first", all.Prices)
	}
	expectError(t, ask(t, "GET", e, "/api/v1/historical-price?timestamp=now", nil), http.StatusBadRequest)
	expectError(t, ask(t, "GET", e, "/api/v1/historical-price?timestamp=-1", nil), http.StatusBadRequest)
}

// TestHistory_NewerSchemaIsNotServed: an edge does not misread what a newer version has written.
func TestHistory_NewerSchemaIsNotServed(t *testing.T) {
	server := redistest.Start(t)
	storeYears(t, server)
	client := server.Client()
	if err := client.Set(t.Context(), history.KeySchema, history.Schema+1, 0).Err(); err != nil {
		t.Fatal(err)
	}
	e := edgeWith(t, server, unchanged)
	got := ask(t, "GET", e, "/api/v1/history", nil)
	if message := expectError(t, got, http.StatusServiceUnavailable); !strings.Contains(message, "newer version") || got.Header.Get("Retry-After") == "" {
		t.Errorf("got %q, want a message about the newer version, and Retry-After", message)
	}
	if err := client.Set(t.Context(), history.KeySchema, history.Schema, 0).Err(); err != nil {
		t.Fatal(err)
	}
	programs.Until(t, "the history", func() bool { return ask(t, "GET", e, "/api/v1/history", nil).StatusCode == http.StatusOK })
}

// TestHistory_UnreadableSeriesIsLeftOut: the others are served, and the failure is counted.
func TestHistory_UnreadableSeriesIsLeftOut(t *testing.T) {
	server := redistest.Start(t)
	storeYears(t, server)
	if err := server.Client().Set(t.Context(), history.KeyHours, "mine", 0).Err(); err != nil {
		t.Fatal(err)
	}
	get, reg := newAPI(t, server)
	// Of the hours' day there is the day's candle.
	if status, body := get(everything); status != http.StatusOK || entriesIn(body) != 2+3+1 {
		t.Errorf("got %d with %s, want two days, three blocks and one step of entries", status, body)
	}
	if n := value(t, reg, "sightglass_cache_failures_total"); n != 1 {
		t.Errorf("got %v failures, want 1", n)
	}
}
