package contract

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
)

// A PointAmount is a point of a snapshot with its point amount, the round amount that implies its price. Snapshots have
// only the time and the price.
type PointAmount struct {
	Timestamp float64 // when the transaction was seen, unix seconds, 3 decimals
	Price     float64 // USD per bitcoin, 2 decimals
	Amount    float64 // the point amount in USD, one of the engine's rungs: 1 to 10,000
}

// AppendPointAmounts appends the JSON of points to dst, [[timestamp,price,amount],...], and returns the extended
// buffer. Time and price have the decimals of snapshots, so that they identify a point. Numbers must be finite.
func AppendPointAmounts(dst []byte, points []PointAmount) []byte {
	dst = append(dst, '[')
	for i, p := range points {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendSeconds(append(dst, '['), p.Timestamp)
		dst = appendUSD(append(dst, ','), p.Price)
		dst = strconv.AppendFloat(append(dst, ','), p.Amount, 'f', -1, 64)
		dst = append(dst, ']')
	}
	return append(dst, ']')
}

// ErrInvalidPoints is wrapped by every error of DecodePointAmounts. The error names the invalid field and the point's
// index.
var ErrInvalidPoints = errors.New("invalid points")

// DecodePointAmounts decodes points, oldest first. Additional fields of a point are ignored, so that an ingester may be
// newer than an edge.
func DecodePointAmounts(data []byte) ([]PointAmount, error) {
	var rows [][]json.RawMessage
	if err := json.Unmarshal(data, &rows); err != nil {
		return nil, fmt.Errorf("%w: not a JSON array of arrays: %w", ErrInvalidPoints, err)
	}
	if len(rows) > MaxTransactions {
		return nil, fmt.Errorf("%w: got %d, want at most %d", ErrInvalidPoints, len(rows), MaxTransactions)
	}
	points := make([]PointAmount, len(rows))
	for i, row := range rows {
		if err := points[i].decode(row); err != nil {
			return nil, fmt.Errorf("%w: index %d: %w", ErrInvalidPoints, i, err)
		}
		if i > 0 && points[i].Timestamp < points[i-1].Timestamp {
			return nil, fmt.Errorf("%w: index %d: timestamp: got %v after %v", ErrInvalidPoints, i, points[i].Timestamp, points[i-1].Timestamp)
		}
	}
	return points, nil
}

func (p *PointAmount) decode(row []json.RawMessage) error {
	for i, field := range [...]struct {
		name string
		into *float64
		most float64
	}{
		{"timestamp", &p.Timestamp, MaxSeconds}, {"price", &p.Price, MaxUSD}, {"amount", &p.Amount, MaxUSD},
	} {
		if i >= len(row) {
			return fmt.Errorf("%s: missing", field.name)
		}
		value, err := strconv.ParseFloat(string(row[i]), 64)
		if err != nil {
			return fmt.Errorf("%s: got %.40q, want a number", field.name, row[i])
		}
		if err := checkRange(field.name, value, field.most); err != nil {
			return err
		}
		*field.into = value
	}
	return nil
}
