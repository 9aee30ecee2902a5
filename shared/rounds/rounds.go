// Package rounds is the contract about which round dollar amount each of the newest points is: what the ingester keeps of
// it in Redis, and how one is encoded. The edges hand the same encoding on to browsers. It is apart from the snapshot,
// where a point is a time and a price and stays that.
package rounds

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"sightglass/shared/snapshot"
)

// A Point is a point of a snapshot, and the round amount by which it implies its price.
type Point struct {
	Timestamp float64 // when the transaction was seen, unix seconds, 3 decimals
	Price     float64 // USD per bitcoin, 2 decimals
	Amount    float64 // the payment, in USD: one of the round amounts that the engine knows, 1 to 10,000
}

// AppendJSON appends the encoding of points to dst, [[timestamp,price,amount],...], and returns the extended buffer. Time
// and price are written as a snapshot writes them, so that a point is found by them. The caller vouches for finite numbers.
func AppendJSON(dst []byte, points []Point) []byte {
	dst = append(dst, '[')
	for i, p := range points {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, '[')
		dst = strconv.AppendFloat(dst, p.Timestamp, 'f', 3, 64)
		dst = append(dst, ',')
		dst = strconv.AppendFloat(dst, p.Price, 'f', 2, 64)
		dst = append(dst, ',')
		dst = strconv.AppendFloat(dst, p.Amount, 'f', -1, 64)
		dst = append(dst, ']')
	}
	return append(dst, ']')
}

// ErrInvalid is wrapped by every error of Decode. The error's text names what is wrong, and in which point.
var ErrInvalid = errors.New("invalid points")

// Decode reads points, oldest first. What follows a point's three fields is ignored, so that an ingester may be newer than
// an edge.
func Decode(data []byte) ([]Point, error) {
	var rows [][]json.RawMessage
	if err := json.Unmarshal(data, &rows); err != nil {
		return nil, fmt.Errorf("%w: not a JSON array of arrays: %w", ErrInvalid, err)
	}
	if len(rows) > snapshot.MaxTransactions {
		return nil, fmt.Errorf("%w: %d of them, more than %d", ErrInvalid, len(rows), snapshot.MaxTransactions)
	}
	points := make([]Point, len(rows))
	for i, row := range rows {
		if err := points[i].read(row); err != nil {
			return nil, fmt.Errorf("%w: number %d: %w", ErrInvalid, i, err)
		}
		if i > 0 && points[i].Timestamp < points[i-1].Timestamp {
			return nil, fmt.Errorf("%w: number %d: timestamp: %v after %v", ErrInvalid, i, points[i].Timestamp, points[i-1].Timestamp)
		}
	}
	return points, nil
}

// The bounds are those of a snapshot.
const (
	maxUSD     = 1e12
	maxSeconds = 1 << 40
)

func (p *Point) read(row []json.RawMessage) error {
	for i, field := range [...]struct {
		name string
		into *float64
		most float64
	}{
		{"timestamp", &p.Timestamp, maxSeconds}, {"price", &p.Price, maxUSD}, {"amount", &p.Amount, maxUSD},
	} {
		if i >= len(row) {
			return fmt.Errorf("%s: missing", field.name)
		}
		value, err := strconv.ParseFloat(string(row[i]), 64)
		if err != nil {
			return fmt.Errorf("%s: %.40q is not a number that belongs there", field.name, row[i])
		}
		if value < 0 || value > field.most {
			return fmt.Errorf("%s: %v is not between 0 and %v", field.name, value, field.most)
		}
		*field.into = value
	}
	return nil
}
