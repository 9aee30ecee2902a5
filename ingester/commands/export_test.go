package commands

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"sightglass/shared/daemon"
	"sightglass/shared/history"
	"sightglass/shared/redistest"
)

// fillHistory writes a row or two of each series.
func fillHistory(t *testing.T, client *redis.Client) {
	t.Helper()
	ctx := t.Context()
	entry := history.Entry{Timestamp: 1556771672, Price: 5313.57, Low: 5301.1, High: 5325.9, Confidence: 0.987}
	for _, err := range []error{
		history.Recent.Write(ctx, client, entry, history.Entry{Timestamp: 1556771680, Price: 5314, Low: 5300, High: 5326.5, Confidence: 1}),
		history.Blocks.Write(ctx, client, history.Block{Entry: entry, Height: 574200}),
		history.Hours.Write(ctx, client, history.Candle{Start: 1556769600, Open: 5300.1, High: 5330, Low: 5299.95, Close: 5313.57, Confidence: 0.987, Blocks: 6, Height: 574200}),
		history.Days.Write(ctx, client, history.Candle{Start: 1556755200, Open: 5290, High: 5330, Low: 5280.5, Close: 5313.57, Confidence: 0.95}),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
}

func exported(t *testing.T, client *redis.Client, format string) (stdout, stderr string) {
	t.Helper()
	var out, notes bytes.Buffer
	if err := (&Export{Format: format}).export(t.Context(), client, &out, log.New(&notes, "", 0)); err != nil {
		t.Fatal(err)
	}
	return out.String(), notes.String()
}

func TestExport_CSV(t *testing.T) {
	client := redistest.Start(t)
	fillHistory(t, client)
	got, notes := exported(t, client, "csv")
	want := strings.Join([]string{
		"series,time,height,price,interval_low,interval_high,open,high,low,close,confidence,blocks",
		"recent,1556771672,,5313.57,5301.10,5325.90,,,,,0.987,",
		"recent,1556771680,,5314.00,5300.00,5326.50,,,,,1.000,",
		"blocks,1556771672,574200,5313.57,5301.10,5325.90,,,,,0.987,",
		"hours,1556769600,574200,,,,5300.10,5330.00,5299.95,5313.57,0.987,6",
		"days,1556755200,,,,,5290.00,5330.00,5280.50,5313.57,0.950,0",
		"",
	}, "\r\n")
	if got != want || notes != "" {
		t.Errorf("got %s\nwant %s\nand no notes, got %s", got, want, notes)
	}
}

func TestExport_JSON(t *testing.T) {
	client := redistest.Start(t)
	fillHistory(t, client)
	got, _ := exported(t, client, "json")
	want := `{"recent":[
{"time":1556771672,"price":5313.57,"interval_low":5301.10,"interval_high":5325.90,"confidence":0.987},
{"time":1556771680,"price":5314.00,"interval_low":5300.00,"interval_high":5326.50,"confidence":1.000}],
"blocks":[
{"time":1556771672,"height":574200,"price":5313.57,"interval_low":5301.10,"interval_high":5325.90,"confidence":0.987}],
"hours":[
{"time":1556769600,"height":574200,"open":5300.10,"high":5330.00,"low":5299.95,"close":5313.57,"confidence":0.987,"blocks":6}],
"days":[
{"time":1556755200,"open":5290.00,"high":5330.00,"low":5280.50,"close":5313.57,"confidence":0.950,"blocks":0}]}
`
	if got != want || !json.Valid([]byte(got)) {
		t.Errorf("got %s\nwant %s", got, want)
	}
}

func TestExport_EmptyRedis(t *testing.T) {
	client := redistest.Start(t)
	if got, _ := exported(t, client, "json"); !json.Valid([]byte(got)) || got != "{\"recent\":[],\n\"blocks\":[],\n\"hours\":[],\n\"days\":[]}\n" {
		t.Errorf("got %s, want four empty arrays", got)
	}
	if got, _ := exported(t, client, "csv"); strings.Count(got, "\n") != 1 {
		t.Errorf("got %s, want a header", got)
	}
}

// TestExport_FormatsAgree: both formats have the same rows with the same values.
func TestExport_FormatsAgree(t *testing.T) {
	client := redistest.Start(t)
	fillHistory(t, client)
	var blocks []history.Block
	for i := range int64(500) {
		blocks = append(blocks, history.Block{Entry: history.Entry{Timestamp: 1556771672 + 600*i, Price: float64(5000 + i), Low: 4000, High: 6000, Confidence: 0.5}, Height: 574200 + i})
	}
	if err := history.AddBlocks(t.Context(), client, blocks); err != nil {
		t.Fatal(err)
	}
	text, _ := exported(t, client, "csv")
	table, err := csv.NewReader(strings.NewReader(text)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	fromCSV := make(map[string][]map[string]string)
	for _, row := range table[1:] {
		object := make(map[string]string)
		for i, name := range table[0] {
			if row[i] != "" && name != "series" {
				object[name] = row[i]
			}
		}
		fromCSV[row[0]] = append(fromCSV[row[0]], object)
	}
	text, _ = exported(t, client, "json")
	fromJSON := make(map[string][]map[string]string)
	var objects map[string][]map[string]json.Number
	if err := json.Unmarshal([]byte(text), &objects); err != nil {
		t.Fatal(err)
	}
	for name, rows := range objects {
		for _, row := range rows {
			object := make(map[string]string)
			for key, value := range row {
				object[key] = value.String()
			}
			fromJSON[name] = append(fromJSON[name], object)
		}
	}
	if !reflect.DeepEqual(fromCSV, fromJSON) || len(fromCSV["blocks"]) != 500 {
		t.Errorf("got different rows, want the same\n csv %v\njson %v", fromCSV, fromJSON)
	}
}

// TestExport_SkipsInvalidRows: and counts them.
func TestExport_SkipsInvalidRows(t *testing.T) {
	client := redistest.Start(t)
	fillHistory(t, client)
	for i := range 3 {
		if err := client.ZAdd(t.Context(), history.KeyBlocks, redis.Z{Score: float64(i), Member: fmt.Sprintf("nonsense %d", i)}).Err(); err != nil {
			t.Fatal(err)
		}
	}
	got, notes := exported(t, client, "csv")
	if strings.Count(got, "\r\nblocks,") != 1 || strings.Contains(got, "nonsense") {
		t.Errorf("got %s, want the one valid block", got)
	}
	if want := "blocks: skipped 3 invalid rows; the first one: sightglass:history:blocks: invalid history: not a JSON array\n"; notes != want {
		t.Errorf("got %q, want %q", notes, want)
	}
}

func TestExport_ExplainsErrors(t *testing.T) {
	client := redistest.Start(t)
	fillHistory(t, client)
	program := daemon.Program{Name: "ingester"}
	expect := func(url, want string) {
		t.Helper()
		c := &Export{Format: "csv", RedisOptions: daemon.RedisOptions{Redis: url}}
		if err := c.Run(t.Context(), program); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", url, err, want)
		}
	}
	expect("http://127.0.0.1", "--redis: want redis://HOST:6379")
	expect("unix:///nowhere/redis.sock", "redis does not respond")
	if err := client.Set(t.Context(), history.KeyDays, "mine", 0).Err(); err != nil {
		t.Fatal(err)
	}
	expect(redistest.URL(client), "redis returned an error: WRONGTYPE")
	if err := client.Set(t.Context(), history.KeySchema, history.Schema+1, 0).Err(); err != nil {
		t.Fatal(err)
	}
	expect(redistest.URL(client), "update it")
}

// TestExport_ClosedPipe: a reader such as head has seen enough.
func TestExport_ClosedPipe(t *testing.T) {
	client := redistest.Start(t)
	fillHistory(t, client)
	for _, format := range []string{"csv", "json"} {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		r.Close()
		if err := (&Export{Format: format}).export(t.Context(), client, w, log.New(os.Stderr, "", 0)); err != nil {
			t.Errorf("%s: got %v, want no error", format, err)
		}
		w.Close()
	}
}
