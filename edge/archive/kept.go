package archive

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// ErrUnavailable is wrapped by every error of a Read: Redis has given nothing, and there is nothing from before.
var ErrUnavailable = errors.New("nothing from redis")

// A kept is what Redis holds, read when somebody asks and then taken for what there is for as long as it is fresh: Redis is
// asked no more often, however many ask the edge. It is safe for concurrent use.
type kept[T any] struct {
	fresh time.Duration
	// ask reads it anew. What is the same as before, nil at first, stays the same pointer.
	ask func(ctx context.Context, before *T) (*T, error)

	latest atomic.Pointer[copied[T]]
	mu     sync.Mutex // held while Redis is asked: who comes meanwhile waits for the same answer, if nothing is known yet
}

// copied is what Redis said, and when it was asked.
type copied[T any] struct {
	value *T    // nil if it never gave any
	err   error // why the value is older than asked
	asked time.Time
}

// read gives what is in Redis, or was at most fresh before now. While Redis is asked, or is away, it is the last that is
// known; ErrUnavailable if none is.
func (k *kept[T]) read(ctx context.Context, now time.Time) (*T, error) {
	before := k.latest.Load()
	if before.isFresh(now, k.fresh) {
		return before.value, before.answer()
	}
	if !k.mu.TryLock() { // somebody asks
		if before != nil && before.value != nil {
			return before.value, nil
		}
		k.mu.Lock()
	}
	defer k.mu.Unlock()
	if c := k.latest.Load(); c != before { // somebody was quicker: this is the answer, however long it took
		return c.value, c.answer()
	}
	c := k.renew(ctx, before, now)
	k.latest.Store(c)
	return c.value, c.answer()
}

func (k *kept[T]) renew(ctx context.Context, before *copied[T], now time.Time) *copied[T] {
	c := &copied[T]{asked: now}
	if before != nil {
		c.value = before.value
	}
	value, err := k.ask(ctx, c.value)
	if err != nil {
		c.err = fmt.Errorf("%w: %w", ErrUnavailable, err)
		return c
	}
	c.value = value
	return c
}

// isFresh goes by the distance of two times, so that a clock that steps back does not make a copy last.
func (c *copied[T]) isFresh(now time.Time, fresh time.Duration) bool {
	return c != nil && now.Sub(c.asked).Abs() < fresh
}

func (c *copied[T]) answer() error {
	if c.value == nil {
		return c.err
	}
	return nil
}
