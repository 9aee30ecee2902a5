package contract

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
)

// ErrInvalidSnapshot is wrapped by every error of DecodeSnapshot. The error names the invalid key.
var ErrInvalidSnapshot = errors.New("invalid snapshot")

// DecodeSnapshot decodes one snapshot. Unknown keys are ignored and an unknown status is kept, so that an ingester may be
// newer than an edge. A key that is missing, of the wrong type or out of range is an error.
func DecodeSnapshot(data []byte) (*Snapshot, error) {
	var w wire
	if err := json.Unmarshal(data, &w); err != nil {
		return nil, describe(ErrInvalidSnapshot, err)
	}
	s, err := w.snapshot()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalidSnapshot, err)
	}
	return s, nil
}

// wire is a Snapshot in JSON. Pointers distinguish a missing key from zero.
type wire struct {
	Price        *float64 `json:"price"`
	Confidence   *float64 `json:"confidence"`
	Transactions *[]Point `json:"transactions"`
	Stats        *Stats   `json:"stats"`
	Timestamp    *float64 `json:"timestamp"`
	Low          *float64 `json:"low"`
	High         *float64 `json:"high"`
	Status       *Status  `json:"status"`
	Seq          *uint64  `json:"seq"`
	Epoch        *Epoch   `json:"epoch"`
}

func (w *wire) snapshot() (*Snapshot, error) {
	if key := w.missing(); key != "" {
		return nil, fmt.Errorf("%s: missing", key)
	}
	s := &Snapshot{
		Price: *w.Price, Confidence: *w.Confidence, Transactions: *w.Transactions, Stats: *w.Stats,
		Timestamp: *w.Timestamp, Low: *w.Low, High: *w.High, Status: *w.Status, Seq: *w.Seq, Epoch: *w.Epoch,
	}
	return s, s.validate()
}

func (w *wire) missing() string {
	switch {
	case w.Price == nil:
		return "price"
	case w.Confidence == nil:
		return "confidence"
	case w.Transactions == nil:
		return "transactions"
	case w.Stats == nil:
		return "stats"
	case w.Timestamp == nil:
		return "timestamp"
	case w.Low == nil:
		return "low"
	case w.High == nil:
		return "high"
	case w.Status == nil:
		return "status"
	case w.Seq == nil:
		return "seq"
	case w.Epoch == nil:
		return "epoch"
	}
	return ""
}

func (s *Snapshot) validate() error {
	if err := s.Epoch.validate(); err != nil {
		return fmt.Errorf("epoch: %w", err)
	}
	if !s.Status.wellFormed() {
		return fmt.Errorf("status: got %q, want a word of at most %d lower-case letters", clip(string(s.Status)), maxStatus)
	}
	if n := len(s.Transactions); n > MaxTransactions {
		return fmt.Errorf("transactions: got %d, want at most %d", n, MaxTransactions)
	}
	return s.checkRanges()
}

func (s *Snapshot) checkRanges() error {
	for _, n := range []struct {
		key   string
		value float64
		most  float64
	}{
		{"price", s.Price, MaxUSD}, {"low", s.Low, MaxUSD}, {"high", s.High, MaxUSD},
		{"confidence", s.Confidence, 1}, {"timestamp", s.Timestamp, MaxSeconds},
	} {
		if err := checkRange(n.key, n.value, n.most); err != nil {
			return err
		}
	}
	for i, p := range s.Transactions {
		if err := checkPrice(p.Timestamp, p.Price); err != nil {
			return fmt.Errorf("transactions: index %d: %w", i, err)
		}
	}
	return nil
}

// describe converts errors of encoding/json to errors of a kind that name the key.
func describe(kind, err error) error {
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		key := wrong.Field
		if key == "" {
			key = "the whole"
		}
		return fmt.Errorf("%w: %s: got a JSON %s, want %s (at byte %d)",
			kind, key, clip(wrong.Value), jsonName(wrong.Type), wrong.Offset)
	}
	return fmt.Errorf("%w: not JSON: %w", kind, err)
}

func jsonName(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Float64:
		return "a number"
	case reflect.Uint64:
		return "an integer, 0 or more"
	case reflect.String:
		return "a string"
	case reflect.Slice:
		return "an array"
	default:
		return "an object"
	}
}

// The limits on numbers, the same for snapshots, deltas, history, points and evidence.
const (
	MaxUSD     = 1e12    // USD; above it a float64 has fewer than two reliable decimals
	MaxSeconds = 1 << 40 // unix seconds, in 35,000 years
)

// checkRange returns an error if value is not between 0 and most.
func checkRange(key string, value, most float64) error {
	if value >= 0 && value <= most {
		return nil
	}
	return fmt.Errorf("%s: got %v, want 0 to %v", key, value, most)
}

// checkPrice returns an error if a time or a price is out of range.
func checkPrice(timestamp, usd float64) error {
	if err := checkRange("timestamp", timestamp, MaxSeconds); err != nil {
		return err
	}
	return checkRange("price", usd, MaxUSD)
}
