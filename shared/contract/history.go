package contract

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
)

// HistorySlot is the time in seconds for which at most one entry is kept: a later one replaces it.
const HistorySlot = 10

// MaxHistoryEntries bounds the history in Redis; the oldest entries are removed first. It is two days: one that is
// promised, and as much again for entries that a clock which ran ahead has left in the future.
const MaxHistoryEntries = 2 * 24 * 60 * 60 / HistorySlot

// A HistoryEntry is the price at one time.
type HistoryEntry struct {
	Timestamp  int64   // when it was computed, unix seconds
	Price      float64 // USD per bitcoin, 2 decimals
	Low, High  float64 // 90 % credible interval in USD, 2 decimals
	Confidence float64 // probability, 0 to 1, that the true price is within 1 % of Price, 3 decimals
}

// Slot returns the first second of the entry's slot.
func (e HistoryEntry) Slot() int64 { return e.Timestamp / HistorySlot * HistorySlot }

// AppendJSON appends the entry's encoding to dst, [timestamp,price,low,high,confidence], and returns the extended
// buffer. It is an array because a browser gets 8,640 of them at once. The numbers must be finite.
func (e HistoryEntry) AppendJSON(dst []byte) []byte {
	dst = append(dst, '[')
	dst = strconv.AppendInt(dst, e.Timestamp, 10)
	for _, usd := range [...]float64{e.Price, e.Low, e.High} {
		dst = appendUSD(append(dst, ','), usd)
	}
	dst = appendProbability(append(dst, ','), e.Confidence)
	return append(dst, ']')
}

// ErrInvalidHistory is wrapped by every error of DecodeHistoryEntry. The error's text names the wrong field.
var ErrInvalidHistory = errors.New("invalid history entry")

// historyFields are an entry's, in the order of its encoding.
var historyFields = [...]string{"timestamp", "price", "low", "high", "confidence"}

// DecodeHistoryEntry reads one entry. Further fields are ignored, so that an ingester may be newer than an edge.
func DecodeHistoryEntry(data []byte) (HistoryEntry, error) {
	e, err := decodeHistoryEntry(data)
	if err != nil {
		return HistoryEntry{}, fmt.Errorf("%w: %w", ErrInvalidHistory, err)
	}
	return e, nil
}

// decodeHistoryEntry splits valid JSON by hand: an edge reads thousands of entries at a time, and reflection costs ten
// times as much.
func decodeHistoryEntry(data []byte) (e HistoryEntry, err error) {
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
			return e, fmt.Errorf("%s: %.40q is not a number that belongs there", historyFields[i], text)
		}
	}
	for i, n := range [...]struct{ value, most float64 }{
		{float64(e.Timestamp), maxSeconds}, {e.Price, maxUSD}, {e.Low, maxUSD}, {e.High, maxUSD}, {e.Confidence, 1},
	} {
		if err := checkRange(historyFields[i], n.value, n.most); err != nil {
			return e, err
		}
	}
	return e, nil
}
