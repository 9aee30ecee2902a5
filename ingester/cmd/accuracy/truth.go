package main

import (
	"encoding/csv"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"sightglass/ingester/payment"
	"sightglass/ingester/price"
	"sightglass/ingester/txfile"
)

// A subject is a file's payments by transaction, with the known price at its time.
type subject struct {
	name      string
	time      time.Time
	truth     float64 // an exchange's price in USD; 0 if only the day's range is known
	low, high float64 // that day's range
	payments  [][]payment.Satoshi
}

// mempools are the halves of the mempool beside the blocks, by name and file. No exchange's price is known for its minutes;
// truth is the middle of the prices then, within about 0.2 %.
var mempools = []struct{ name, file string }{
	{"mempool", "mempool-2024-03-14.hex.gz"},
	{"half-b", "mempool-2024-03-14-b.hex.gz"},
}

func mempoolSubject(name string) subject {
	return subject{name: name, time: time.Date(2024, 3, 14, 6, 0, 0, 0, time.UTC), truth: 73_300, low: 68_555, high: 73_777}
}

// fitTo returns the price at which the ladder is fitted: the truth; or the price that the file itself shows, if the
// truth is uncertain by more than half a per cent. (In the hour of block 562500 the market moved; its ladder fits at
// 3,648.)
func (s *subject) fitTo() price.USD {
	if better, ok := map[string]price.USD{"696394": 45_317, "562500": 3_648}[s.name]; ok {
		return better
	}
	return price.USD(s.truth)
}

// sample returns the input for fitting the ladder.
func (s *subject) sample() price.Sample {
	sample := price.Sample{Price: s.fitTo()}
	for _, p := range s.payments {
		sample.Payments = append(sample.Payments, p...)
	}
	return sample
}

// miss returns the error of an estimate, as a ratio. If only the day's range is known, a price inside it has no error.
func (s *subject) miss(p price.USD) float64 {
	switch v := float64(p); {
	case s.truth > 0:
		return v/s.truth - 1
	case v < s.low:
		return v/s.low - 1
	case v > s.high:
		return v/s.high - 1
	}
	return 0
}

// covered reports whether an estimate's interval contains the truth.
func (s *subject) covered(e price.Estimate) bool {
	if s.truth > 0 {
		return float64(e.Low) <= s.truth && s.truth <= float64(e.High)
	}
	return float64(e.Low) <= s.high && s.low <= float64(e.High)
}

// load reads truth.csv and every file that it names, and the mempool if it exists.
func load(dir string) ([]subject, error) {
	table, err := os.Open(filepath.Join(dir, "truth.csv"))
	if err != nil {
		return nil, err
	}
	defer table.Close()
	rows, err := csv.NewReader(table).ReadAll()
	if err != nil {
		return nil, fmt.Errorf("truth.csv: %w", err)
	}
	var subjects []subject
	for i, row := range rows[1:] {
		s, err := parse(row)
		if err != nil {
			return nil, fmt.Errorf("truth.csv: row %d: %w", i+2, err)
		}
		if err := s.read(filepath.Join(dir, row[0])); err != nil {
			return nil, err
		}
		subjects = append(subjects, s)
	}
	for _, m := range mempools {
		pool := mempoolSubject(m.name)
		if err := pool.read(filepath.Join(dir, m.file)); err != nil {
			fmt.Fprintf(os.Stderr, "accuracy: continuing without %s: %v\n", m.name, err)
			continue
		}
		subjects = append(subjects, pool)
	}
	return subjects, nil
}

func parse(row []string) (s subject, err error) {
	if len(row) < 7 {
		return s, fmt.Errorf("%d columns, want 7", len(row))
	}
	s.name = strings.TrimSuffix(filepath.Base(row[0]), ".raw.gz")
	seconds, err := strconv.ParseInt(row[2], 10, 64)
	if err != nil {
		return s, err
	}
	s.time = time.Unix(seconds, 0).UTC()
	for i, number := range []*float64{&s.truth, &s.low, &s.high} {
		if row[4+i] == "" {
			continue
		}
		if *number, err = strconv.ParseFloat(row[4+i], 64); err != nil {
			return s, err
		}
	}
	return s, nil
}

func (s *subject) read(path string) error {
	file, err := txfile.Read(path, nil)
	if err != nil {
		return err
	}
	s.payments = payment.All(file.Transactions)
	return nil
}
