package history

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"sightglass/shared/contract"
)

// ErrNewer is wrapped by the error of CheckSchema for a history that a newer Sightglass has written.
var ErrNewer = errors.New("newer history")

// CheckSchema returns the schema of the history in Redis: 1 if none is stated. If this version does not know it, the error
// wraps ErrNewer; other errors are Redis's.
func CheckSchema(ctx context.Context, client redis.Cmdable) (int, error) {
	text, err := client.Get(ctx, KeySchema).Result()
	if errors.Is(err, redis.Nil) {
		return 1, nil
	}
	if err != nil {
		return 0, err
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > Schema {
		return n, fmt.Errorf("%w: %s is %.20q, and this version knows up to %d: update it, or delete the history", ErrNewer, KeySchema, text, Schema)
	}
	return n, nil
}

// Upgrade brings the history in Redis to Schema. Only the leader, or who holds the lease, may call it. The error wraps ErrNewer if the history is
// newer; other errors are Redis's, and a repeated call continues.
func Upgrade(ctx context.Context, client redis.Cmdable) error {
	n, err := CheckSchema(ctx, client)
	if err != nil || n == Schema {
		return err
	}
	if err := AddRecent(ctx, client, 0); err != nil {
		return err
	}
	return client.Set(ctx, KeySchema, Schema, 0).Err()
}

// Progress is how far the backfill has come: it has all blocks from one height to another. The prices at both ends are where
// it continues.
type Progress struct {
	Network   string  `json:"network"`    // as bitcoind names it: main, test, signet, ...
	From      int64   `json:"from"`       // height
	To        int64   `json:"to"`         // height, included
	FromPrice float64 `json:"from_price"` // USD per bitcoin
	ToPrice   float64 `json:"to_price"`   // USD per bitcoin
}

// ReadProgress returns the backfill's progress; nil if there is none. The error wraps ErrInvalid if it cannot be used, and says
// what to do; other errors are Redis's.
func ReadProgress(ctx context.Context, client redis.Cmdable) (*Progress, error) {
	data, err := client.Get(ctx, KeyProgress).Bytes()
	if errors.Is(err, redis.Nil) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	p := new(Progress)
	if err := json.Unmarshal(data, p); err != nil || !p.valid() {
		return nil, fmt.Errorf("%w: %s is %.80q, which is no progress of a backfill: delete it, and the backfill starts again", ErrInvalid, KeyProgress, data)
	}
	return p, nil
}

func (p *Progress) valid() bool {
	isPrice := func(usd float64) bool { return usd >= 0 && usd <= contract.MaxUSD }
	return p.From >= 0 && p.To >= p.From && p.To <= maxHeight && isPrice(p.FromPrice) && isPrice(p.ToPrice)
}

// Write replaces the progress. Prices must be finite.
func (p Progress) Write(ctx context.Context, client redis.Cmdable) error {
	data, err := json.Marshal(p)
	if err != nil {
		return err
	}
	return client.Set(ctx, KeyProgress, data, 0).Err()
}

// acquire takes or renews a lease. KEYS: the lease. ARGV: the holder, the time to live in ms.
var acquire = redis.NewScript(`
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then
  return 0
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
`)

// Acquire takes or renews the lease of KeyLease for a holder, and reports whether the holder has it. It ends after a time by
// Redis's clock, a millisecond at least. Holders must have different names. Errors are Redis's.
func Acquire(ctx context.Context, client redis.UniversalClient, holder string, lease time.Duration) (bool, error) {
	n, err := acquire.Run(ctx, client, []string{KeyLease}, holder, lease.Milliseconds()).Int()
	return n == 1, err
}

// release gives up a lease. KEYS: the lease. ARGV: the holder.
var release = redis.NewScript(`
if redis.call('GET', KEYS[1]) == ARGV[1] then
  redis.call('DEL', KEYS[1])
end
return 0
`)

// Release gives up the lease, if the holder has it. Errors are Redis's.
func Release(ctx context.Context, client redis.UniversalClient, holder string) error {
	return release.Run(ctx, client, []string{KeyLease}, holder).Err()
}
