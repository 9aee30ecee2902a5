// Package history is the price's history in Redis: how it is encoded, read and written. It has four series, each a sorted
// set of JSON arrays. The finer a series is, the shorter it goes back:
//
//	recent  the price every 10 s, of the last two days       score: unix seconds
//	blocks  the price of each block of the last 30 days      score: height
//	hours   candles of an hour, of the last two years        score: unix seconds of their start
//	days    candles of a day (UTC), of all time              score: unix seconds of their start
//
// All four are full after some years, and then take under 10 MB in Redis (TestMemory_FullHistory prints the figure).
//
// Every command and every transaction is of one key, because the keys are on several nodes of a Redis Cluster. The series may
// therefore differ for a moment.
package history

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"

	"sightglass/shared/contract"
)

// The keys. Ingesters write them; edges and operators with redis-cli read them.
const (
	// KeyRecent holds the recent series. `redis-cli ZRANGE sightglass:history -6 -1` shows the last minute.
	KeyRecent = "sightglass:history"

	// KeyBlocks holds the blocks series. `redis-cli ZRANGE sightglass:history:blocks -1 -1` shows the newest block's price.
	KeyBlocks = "sightglass:history:blocks"

	// KeyHours and KeyDays hold the candles.
	KeyHours = "sightglass:history:hours"
	KeyDays  = "sightglass:history:days"

	// KeySchema holds the Schema of the keys above, as text. It is missing where an ingester older than schema 2 wrote.
	KeySchema = "sightglass:history:schema"

	// KeyProgress holds the Progress of the backfill, in JSON.
	KeyProgress = "sightglass:history:progress"

	// KeyLease names the one backfill that may write KeyBlocks, the candles of blocks and KeyProgress. It expires unless it
	// is renewed.
	KeyLease = "sightglass:history:lease"
)

// Schema is the version of the keys' meaning. Additional fields in a row do not change it. Schema 1 had KeyRecent only.
const Schema = 2

// The lengths of candles, in seconds.
const (
	Hour = 60 * 60
	Day  = 24 * Hour
)

// The largest number of rows of each series; the oldest are removed first. By number and not by age, because a clock
// that is wrong for a moment would empty a series that is trimmed by age.
const (
	MaxRecent = 2 * Day / Slot // one day is promised; the other is room for entries with future times, left by a clock that was ahead
	MaxBlocks = 33 * 24 * 6    // 30 days of a block every ten minutes on average, and a tenth more for when they are faster
	MaxHours  = 2 * 366 * 24
	MaxDays   = 40 * 366
)

// ErrInvalid is wrapped by every error about a row's encoding. The error names the invalid field.
var ErrInvalid = errors.New("invalid history")

// A field of a row: its name and the range of its valid values, from 0.
type field struct {
	name string
	most float64
}

// maxHeight is the largest valid height of a block.
const maxHeight = 1 << 31

// decode splits a JSON array of numbers into values, one for each field. Additional members of the array are ignored, so
// that an ingester may be newer than an edge. It does not use reflection, which takes ten times as long: an edge decodes
// thousands of rows at a time.
func decode(data []byte, fields []field, values []float64) error {
	data = bytes.Trim(data, " \t\r\n")
	if !json.Valid(data) || data[0] != '[' {
		return fmt.Errorf("%w: not a JSON array", ErrInvalid)
	}
	rest := data[1 : len(data)-1]
	for i, f := range fields {
		var member []byte
		member, rest, _ = bytes.Cut(rest, []byte{','})
		text := string(bytes.Trim(member, " \t\r\n"))
		v, err := strconv.ParseFloat(text, 64)
		switch {
		case err != nil:
			return fmt.Errorf("%w: %s: got %.40q, want a number", ErrInvalid, f.name, text)
		case !(v >= 0 && v <= f.most):
			return fmt.Errorf("%w: %s: got %v, want 0 to %v", ErrInvalid, f.name, v, f.most)
		case isWhole[f.name] && v != math.Trunc(v):
			return fmt.Errorf("%w: %s: got %v, want a whole number", ErrInvalid, f.name, v)
		}
		values[i] = v
	}
	return nil
}

// isWhole are the names of fields that are whole numbers.
var isWhole = map[string]bool{timeField.name: true, "height": true, "blocks": true}

var (
	timeField       = field{"timestamp", contract.MaxSeconds}
	confidenceField = field{"confidence", 1}
)

func usdField(name string) field { return field{name, contract.MaxUSD} }

func appendUSD(dst []byte, v float64) []byte {
	return strconv.AppendFloat(append(dst, ','), v, 'f', 2, 64)
}

func appendProbability(dst []byte, v float64) []byte {
	return strconv.AppendFloat(append(dst, ','), v, 'f', 3, 64)
}

func appendWhole(dst []byte, n int64) []byte { return strconv.AppendInt(append(dst, ','), n, 10) }
