package contract

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
)

// HistorySlot is the length of a slot in seconds. Each slot has at most one entry: a later one replaces it.
const HistorySlot = 10

// MaxHistoryEntries bounds the history in Redis; the oldest entries are removed first. It is two days: the one day that
// clients are promised, and room for entries with future times, left by a clock that was ahead.
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

// AppendJSON appends the entry's JSON to dst, [timestamp,price,low,high,confidence], and returns the extended buffer.
// It is an array because a browser fetches 8,640 entries at once. Numbers must be finite.
func (e HistoryEntry) AppendJSON(dst []byte) []byte {
	dst = append(dst, '[')
	dst = strconv.AppendInt(dst, e.Timestamp, 10)
	for _, usd := range [...]float64{e.Price, e.Low, e.High} {
		dst = appendUSD(append(dst, ','), usd)
	}
	dst = appendProbability(append(dst, ','), e.Confidence)
	return append(dst, ']')
}

// ErrInvalidHistory is wrapped by every error of DecodeHistoryEntry. The error names the invalid field.
var ErrInvalidHistory = errors.New("invalid history entry")

// historyFields are the fields of an entry, in the order of its JSON.
var historyFields = [...]string{"timestamp", "price", "low", "high", "confidence"}

// DecodeHistoryEntry decodes one entry. Additional fields are ignored, so that an ingester may be newer than an edge.
func DecodeHistoryEntry(data []byte) (HistoryEntry, error) {
	e, err := decodeHistoryEntry(data)
	if err != nil {
		return HistoryEntry{}, fmt.Errorf("%w: %w", ErrInvalidHistory, err)
	}
	return e, nil
}

// decodeHistoryEntry splits valid JSON without encoding/json: an edge decodes thousands of entries at a time, and
// reflection takes ten times as long.
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
			return e, fmt.Errorf("%s: got %.40q, want a number", historyFields[i], text)
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
