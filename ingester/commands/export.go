package commands

import (
	"bufio"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"strconv"
	"syscall"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"

	"sightglass/shared/daemon"
	"sightglass/shared/history"
	"sightglass/shared/redisurl"
)

// Export prints the whole history in Redis: every row of every series, oldest first.
type Export struct {
	Format              string `default:"csv" enum:"csv,json" help:"csv: the columns series, time (unix seconds), height, price, interval_low, interval_high, open, high, low, close, confidence, blocks, of which each series has some. json: one object with an array for each series (recent, blocks, hours, days) of objects with the same names."`
	daemon.RedisOptions `set:"snapshots=go to"`
}

// exportColumns are the columns of CSV, and in this order the names in JSON. A name has one meaning in all series.
var exportColumns = [...]string{
	"series", "time", "height", "price", "interval_low", "interval_high", "open", "high", "low", "close", "confidence", "blocks",
}

// An exportRow has the texts of a row's columns. In JSON all but the series are numbers.
type exportRow map[string]string

// Run prints to standard output. It reads everything first, so that a failing Redis leaves no part of a history.
func (c *Export) Run(ctx context.Context, p daemon.Program) error {
	client, err := c.OpenRedis("sightglass-export")
	if err != nil {
		return err
	}
	defer client.Close()
	logging.Disable() // the error says the same
	return c.export(ctx, client, os.Stdout, log.New(os.Stderr, p.Name+": ", 0))
}

func (c *Export) export(ctx context.Context, client redis.UniversalClient, stdout io.Writer, notes *log.Logger) error {
	all, err := readHistory(ctx, client, notes)
	if err != nil {
		return err
	}
	buffered := bufio.NewWriter(stdout)
	if c.Format == "json" {
		err = writeJSON(buffered, all)
	} else {
		err = writeCSV(buffered, all)
	}
	if err = errors.Join(err, buffered.Flush()); errors.Is(err, syscall.EPIPE) {
		return nil // the reader has what it wants
	}
	return err
}

// A series is one of the history's, with the name that it has in the output.
type series struct {
	name string
	rows []exportRow
}

// readHistory reads the history. It notes how many rows it skipped because they are invalid.
func readHistory(ctx context.Context, client redis.UniversalClient, notes *log.Logger) ([]series, error) {
	if _, err := history.CheckSchema(ctx, client); errors.Is(err, history.ErrNewer) {
		return nil, err
	} else if err != nil {
		return nil, redisurl.Explain(err)
	}
	recent, err := readSeries(ctx, client, notes, "recent", history.Recent.ReadAll, entryRow)
	if err != nil {
		return nil, err
	}
	blocks, err := readSeries(ctx, client, notes, "blocks", history.Blocks.ReadAll, blockRow)
	if err != nil {
		return nil, err
	}
	hours, err := readSeries(ctx, client, notes, "hours", history.Hours.ReadAll, candleRow)
	if err != nil {
		return nil, err
	}
	days, err := readSeries(ctx, client, notes, "days", history.Days.ReadAll, candleRow)
	if err != nil {
		return nil, err
	}
	return []series{recent, blocks, hours, days}, nil
}

func readSeries[T any](ctx context.Context, client redis.UniversalClient, notes *log.Logger, name string,
	readAll func(context.Context, redis.Cmdable) ([]T, []error, error), toRow func(T) exportRow,
) (series, error) {
	stored, invalid, err := readAll(ctx, client)
	if err != nil {
		return series{}, redisurl.Explain(err)
	}
	if len(invalid) > 0 {
		notes.Printf("%s: skipped %d invalid rows; the first one: %v", name, len(invalid), invalid[0])
	}
	s := series{name: name, rows: make([]exportRow, len(stored))}
	for i, r := range stored {
		s.rows[i] = toRow(r)
		s.rows[i]["series"] = name
	}
	return s, nil
}

func entryRow(e history.Entry) exportRow {
	return exportRow{
		"time": whole(e.Timestamp), "price": usd(e.Price), "interval_low": usd(e.Low), "interval_high": usd(e.High), "confidence": ratio(e.Confidence),
	}
}

func blockRow(b history.Block) exportRow {
	r := entryRow(b.Entry)
	r["height"] = whole(b.Height)
	return r
}

func candleRow(c history.Candle) exportRow {
	r := exportRow{
		"time": whole(c.Start), "open": usd(c.Open), "high": usd(c.High), "low": usd(c.Low), "close": usd(c.Close),
		"confidence": ratio(c.Confidence), "blocks": whole(c.Blocks),
	}
	if c.Blocks > 0 {
		r["height"] = whole(c.Height)
	}
	return r
}

func whole(n int64) string      { return strconv.FormatInt(n, 10) }
func usd(v float64) string      { return strconv.FormatFloat(v, 'f', 2, 64) }
func ratio(v float64) string    { return strconv.FormatFloat(v, 'f', 3, 64) }
func quoted(text string) string { return `"` + text + `"` } // of a name, which needs no escapes

// writeCSV writes all rows in one table. A column that a series lacks is empty.
func writeCSV(w io.Writer, all []series) error {
	table := csv.NewWriter(w)
	table.UseCRLF = true
	err := table.Write(exportColumns[:])
	for _, s := range all {
		for _, r := range s.rows {
			var row [len(exportColumns)]string
			for i, name := range exportColumns {
				row[i] = r[name]
			}
			err = errors.Join(err, table.Write(row[:]))
		}
	}
	table.Flush()
	return errors.Join(err, table.Error())
}

// writeJSON writes an object with an array for each series, and one row a line.
func writeJSON(w io.Writer, all []series) error {
	text := []byte("{")
	for i, s := range all {
		if i > 0 {
			text = append(text, ",\n"...)
		}
		text = append(append(text, quoted(s.name)...), ":["...)
		for j, r := range s.rows {
			if j > 0 {
				text = append(text, ',')
			}
			text = append(text, "\n{"...)
			first := true
			for _, name := range exportColumns[1:] {
				value, ok := r[name]
				if !ok {
					continue
				}
				if !first {
					text = append(text, ',')
				}
				first = false
				text = append(append(append(text, quoted(name)...), ':'), value...)
			}
			text = append(text, '}')
			if _, err := w.Write(text); err != nil {
				return err
			}
			text = text[:0]
		}
		text = append(text, ']')
	}
	_, err := fmt.Fprintf(w, "%s}\n", text)
	return err
}
