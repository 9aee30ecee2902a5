// Package history is the contract about the price's course: what the ingester keeps of it in Redis, and how one entry
// is encoded. The edges hand the same encoding on to browsers.
package history

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
)

// Slot is the time in seconds for which at most one entry is kept: what was written later replaces what was there.
const Slot = 10

// MaxEntries bounds the history in Redis; the oldest leave first. It is two days: one that is promised, and as much
// again for entries that a clock which ran ahead has left in the future.
const MaxEntries = 2 * 24 * 60 * 60 / Slot

// An Entry is the price at one time.
type Entry struct {
	Timestamp  int64   // when it was computed, unix seconds
	Price      float64 // USD per bitcoin, 2 decimals
	Low, High  float64 // 90 % credible interval in USD, 2 decimals
	Confidence float64 // probability, 0 to 1, that the true price is within 1 % of Price, 3 decimals
}

// Slot gives the first second of the entry's slot.
func (e Entry) Slot() int64 { return e.Timestamp / Slot * Slot }

// AppendJSON appends the entry's encoding to dst, [timestamp,price,low,high,confidence], and returns the extended
// buffer. It is an array because a browser gets 8,640 of them at once. The caller vouches for finite numbers.
func (e Entry) AppendJSON(dst []byte) []byte {
	dst = append(dst, '[')
	dst = strconv.AppendInt(dst, e.Timestamp, 10)
	for _, usd := range [...]float64{e.Price, e.Low, e.High} {
		dst = append(dst, ',')
		dst = strconv.AppendFloat(dst, usd, 'f', 2, 64)
	}
	dst = append(dst, ',')
	dst = strconv.AppendFloat(dst, e.Confidence, 'f', 3, 64)
	return append(dst, ']')
}

// ErrInvalid is wrapped by every error of Decode. The error's text names the field that is wrong.
var ErrInvalid = errors.New("invalid history entry")

// fields are an entry's, in the order of its encoding.
var fields = [...]string{"timestamp", "price", "low", "high", "confidence"}

// Decode reads one entry. What follows its five fields is ignored, so that an ingester may be newer than an edge.
func Decode(data []byte) (Entry, error) {
	e, err := decode(data)
	if err != nil {
		return Entry{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return e, nil
}

// decode splits by hand what is known to be JSON: an edge reads thousands at a time, and reflection costs ten times
// as much.
func decode(data []byte) (e Entry, err error) {
	data = bytes.Trim(data, " \t\r\n")
	if !json.Valid(data) || data[0] != '[' {
		return e, errors.New("not a JSON array")
	}
	rest := data[1 : len(data)-1]
	for i, into := range [...]*float64{nil, &e.Price, &e.Low, &e.High, &e.Confidence} {
		var field []byte
		field, rest, _ = bytes.Cut(rest, []byte{','})
		text := string(bytes.Trim(field, " \t\r\n"))
		if into == nil {
			e.Timestamp, err = strconv.ParseInt(text, 10, 64)
		} else {
			*into, err = strconv.ParseFloat(text, 64)
		}
		if err != nil {
			return e, fmt.Errorf("%s: %.40q is not a number that belongs there", fields[i], text)
		}
	}
	return e, e.checkRanges()
}

// The bounds are those of a snapshot.
const (
	maxUSD     = 1e12
	maxSeconds = 1 << 40
)

func (e Entry) checkRanges() error {
	for i, n := range [...]struct{ value, most float64 }{
		{float64(e.Timestamp), maxSeconds}, {e.Price, maxUSD}, {e.Low, maxUSD}, {e.High, maxUSD}, {e.Confidence, 1},
	} {
		if n.value < 0 || n.value > n.most {
			return fmt.Errorf("%s: %v is not between 0 and %v", fields[i], n.value, n.most)
		}
	}
	return nil
}
