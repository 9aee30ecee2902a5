package history

import (
	"context"
	"fmt"
	"strconv"

	"github.com/redis/go-redis/v9"
)

// A Series is one of the sorted sets. Rows are replaced by score, so that a second ingester or a repeated write adds none;
// lists and streams only append.
type Series[T row] struct {
	Key    string
	Max    int64 // rows
	score  func(T) int64
	width  int64 // of the range of scores that has one row: it begins at a multiple of the width
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

// write queues the commands that write rows. Their response with the number of rows that the first one replaced is returned.
func (s Series[T]) write(ctx context.Context, p redis.Pipeliner, rows []T) (replaced *redis.IntCmd) {
	for i, r := range rows {
		score := s.score(r)
		first := score / s.width * s.width
		removed := p.ZRemRangeByScore(ctx, s.Key, decimal(first), decimal(first+s.width-1))
		if i == 0 {
			replaced = removed
		}
		p.ZAdd(ctx, s.Key, redis.Z{Score: float64(score), Member: r.AppendJSON(nil)})
	}
	p.ZRemRangeByRank(ctx, s.Key, 0, -s.Max-1)
	return replaced
}

// WriteRecent writes at most MaxTransaction entries in one transaction.
//
// before is the entry that was written last, or nil. It is written again: the response shows whether it was still
// there, and so whether the history was lost. That needs no rights beyond those for writing.
func WriteRecent(ctx context.Context, client redis.Cmdable, before *Entry, entries []Entry) (gone bool, err error) {
	if before != nil {
		entries = append([]Entry{*before}, entries...)
	}
	var replaced *redis.IntCmd
	_, err = client.TxPipelined(ctx, func(p redis.Pipeliner) error {
		replaced = Recent.write(ctx, p, entries)
		return nil
	})
	return err == nil && before != nil && replaced.Val() == 0, err
}

func decimal(n int64) string { return strconv.FormatInt(n, 10) }
