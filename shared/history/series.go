package history

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/redis/go-redis/v9"
)

// A Series is one of the sorted sets. Rows are replaced by score, so that a second ingester or a repeated write adds none;
// lists and streams only append.
type Series[T row] struct {
	Key    string
	Max    int64 // rows
	score  func(T) int64
	width  int64 // scores of a place, which has one row and begins at a multiple of the width
	decode func([]byte) (T, error)
}

type row interface{ AppendJSON(dst []byte) []byte }

// The four series.
var (
	Recent = Series[Entry]{KeyRecent, MaxRecent, func(e Entry) int64 { return e.Timestamp }, Slot, DecodeEntry}
	Blocks = Series[Block]{KeyBlocks, MaxBlocks, func(b Block) int64 { return b.Height }, 1, DecodeBlock}
	Hours  = Series[Candle]{KeyHours, MaxHours, func(c Candle) int64 { return c.Start }, Hour, DecodeCandle}
	Days   = Series[Candle]{KeyDays, MaxDays, func(c Candle) int64 { return c.Start }, Day, DecodeCandle}
)

// maxScore is above every score.
const maxScore = 1 << 52

// Read returns the rows with scores from one to another, both included, in the order of their scores. It skips rows that
// are invalid, are stored under another score than their own, or repeat a score, and returns why. err is Redis's.
//
// It uses ZRANGE, which every user that reads the history may run.
func (s Series[T]) Read(ctx context.Context, client redis.Cmdable, from, to int64) (rows []T, invalid []error, err error) {
	members, err := client.ZRangeArgsWithScores(ctx, redis.ZRangeArgs{Key: s.Key, Start: from, Stop: to, ByScore: true}).Result()
	if err != nil {
		return nil, nil, err
	}
	rows = make([]T, 0, len(members))
	for _, m := range members {
		member, _ := m.Member.(string) // an empty one is invalid
		r, err := s.decode([]byte(member))
		switch n := len(rows); {
		case err != nil:
		case m.Score != float64(s.score(r)): // a wrong time would hide the rows after it
			err = fmt.Errorf("%w: %.100s is stored under the score %.0f", ErrInvalid, member, m.Score)
		case n > 0 && s.score(r) == s.score(rows[n-1]):
			err = fmt.Errorf("%w: %.100s is the second row of its score", ErrInvalid, member)
		}
		if err != nil {
			invalid = append(invalid, fmt.Errorf("%s: %w", s.Key, err))
			continue
		}
		rows = append(rows, r)
	}
	return rows, invalid, nil
}

// ReadAll returns all rows, like Read.
func (s Series[T]) ReadAll(ctx context.Context, client redis.Cmdable) (rows []T, invalid []error, err error) {
	return s.Read(ctx, client, 0, maxScore)
}

// MaxTransaction bounds the rows of one transaction. Redis serves no other client meanwhile, so it should take about
// 100 us at most.
const MaxTransaction = 60

// Write replaces the rows of the same height, slot, hour or day, and removes the oldest rows above the series' limit. It is
// idempotent. Each transaction is of one key and at most MaxTransaction rows; after an error, some may be written.
func (s Series[T]) Write(ctx context.Context, client redis.Cmdable, rows ...T) error {
	for len(rows) > 0 {
		n := min(len(rows), MaxTransaction)
		if _, err := client.TxPipelined(ctx, func(p redis.Pipeliner) error {
			s.write(ctx, p, rows[:n])
			return nil
		}); err != nil {
			return err
		}
		rows = rows[n:]
	}
	return nil
}

// write queues the commands that write rows. Of rows for the same place, the last one is written.
func (s Series[T]) write(ctx context.Context, p redis.Pipeliner, rows []T) {
	places := make(map[int64]T, len(rows)) // by the first score of each
	for _, r := range rows {
		places[s.place(r)] = r
	}
	starts := slices.Sorted(maps.Keys(places))
	members := make([]redis.Z, len(starts))
	for i, from := 0, 0; i < len(starts); i++ {
		r := places[starts[i]]
		members[i] = redis.Z{Score: float64(s.score(r)), Member: r.AppendJSON(nil)}
		// Places without a gap are emptied by one command.
		if i+1 == len(starts) || starts[i+1] != starts[i]+s.width {
			s.remove(ctx, p, starts[from], starts[i])
			from = i + 1
		}
	}
	p.ZAdd(ctx, s.Key, members...)
	p.ZRemRangeByRank(ctx, s.Key, 0, -s.Max-1)
}

// place returns the first score of the place that a row is written to.
func (s Series[T]) place(r T) int64 { return s.score(r) / s.width * s.width }

// remove removes the rows from one place to another, both included. The response is their number.
func (s Series[T]) remove(ctx context.Context, client redis.Cmdable, from, to int64) *redis.IntCmd {
	return client.ZRemRangeByScore(ctx, s.Key, decimal(from), decimal(to+s.width-1))
}

// WriteRecent writes at most MaxTransaction entries in one transaction.
//
// before is the entry that was written last, or nil. It is written again: the response shows whether it was still
// there, and so whether the history was lost. That needs no rights beyond those for writing.
func WriteRecent(ctx context.Context, client redis.Cmdable, before *Entry, entries []Entry) (gone bool, err error) {
	var replaced *redis.IntCmd
	_, err = client.TxPipelined(ctx, func(p redis.Pipeliner) error {
		if before != nil {
			replaced = Recent.remove(ctx, p, before.Slot(), before.Slot())
			entries = append([]Entry{*before}, entries...)
		}
		Recent.write(ctx, p, entries)
		return nil
	})
	return err == nil && before != nil && replaced.Val() == 0, err
}

func decimal(n int64) string { return strconv.FormatInt(n, 10) }
