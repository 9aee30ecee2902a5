package contract

import "fmt"

// The limits on numbers, the same for snapshots, deltas, history and points.
const (
	maxUSD     = 1e12    // USD; above it a float64 has fewer than two reliable decimals
	maxSeconds = 1 << 40 // unix seconds, in 35,000 years
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
	if err := checkRange("timestamp", timestamp, maxSeconds); err != nil {
		return err
	}
	return checkRange("price", usd, maxUSD)
}
