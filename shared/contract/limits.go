package contract

import "fmt"

// The limits on numbers, the same for snapshots, deltas, history and points.
const (
	maxUSD     = 1e12    // no bitcoin will cost this; beyond it two decimals no longer fit a float64 well
	maxSeconds = 1 << 40 // unix seconds for 35,000 years
)

// checkRange reports a number that is not between 0 and most.
func checkRange(key string, value, most float64) error {
	if value >= 0 && value <= most {
		return nil
	}
	return fmt.Errorf("%s: %v is not between 0 and %v", key, value, most)
}

// checkPrice reports a time or a price that is out of range.
func checkPrice(timestamp, usd float64) error {
	if err := checkRange("timestamp", timestamp, maxSeconds); err != nil {
		return err
	}
	return checkRange("price", usd, maxUSD)
}
