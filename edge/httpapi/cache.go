package httpapi

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/prometheus/client_golang/prometheus"
)

// errUnavailable is wrapped by every error of a cache: Redis failed, and nothing was fetched before.
var errUnavailable = errors.New("nothing from redis")

// A cache holds a value that is in Redis, fetched on demand. A request gets the cached value while it is fresh, and the
// last known one during a fetch and after a failed one. However many requests there are, it fetches once per TTL. A cache is
// safe for concurrent use.
type cache[T any] struct {
	ttl               time.Duration
	fetch             func(context.Context) (T, error)
	equal             func(a, b T) bool // a value that has not changed keeps its responses
	fetches, failures prometheus.Counter

	fetching sync.Mutex // held during a fetch

	mu        sync.Mutex // guards the rest
	latest    *cached[T] // nil: none was ever fetched
	err       error      // of the last fetch
	fetchedAt time.Time  // when the last fetch began; zero: never
}

// A cached is a value and the responses made from it, which live as long as the value does. The value must not be changed.
type cached[T any] struct {
	value T

	mu        sync.Mutex // also held while a response is built: that must not take more than one core
	responses map[any]*Response
}

// get returns the value as it is in Redis, or was at most a TTL before now. Errors wrap errUnavailable.
func (c *cache[T]) get(ctx context.Context, now time.Time) (*cached[T], error) {
	latest, fetchedAt, err := c.look()
	if isFresh(fetchedAt, now, c.ttl) {
		return latest, err
	}
	if !c.fetching.TryLock() {
		if latest != nil {
			return latest, nil
		}
		c.fetching.Lock() // nothing is known yet, so all wait for the same fetch
	}
	defer c.fetching.Unlock()
	if latest, again, err := c.look(); !again.Equal(fetchedAt) { // another request was quicker: its result is everyone's, however long it took
		return latest, err
	}
	c.fetches.Inc()
	value, err := c.fetch(ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fetchedAt, c.err = now, nil
	switch {
	case err != nil:
		c.failures.Inc()
		c.err = fmt.Errorf("%w: %w", errUnavailable, err)
	case c.latest == nil || !c.equal(c.latest.value, value):
		c.latest = &cached[T]{value: value, responses: make(map[any]*Response)}
	}
	return c.latest, c.errIfNone()
}

func (c *cache[T]) look() (*cached[T], time.Time, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.latest, c.fetchedAt, c.errIfNone()
}

// errIfNone is the last fetch's error if there is no value to serve instead.
func (c *cache[T]) errIfNone() error {
	if c.latest != nil {
		return nil
	}
	return c.err
}

// isFresh compares by distance, so that a clock that steps back does not make a value last.
func isFresh(fetchedAt, now time.Time, ttl time.Duration) bool {
	return !fetchedAt.IsZero() && now.Sub(fetchedAt).Abs() < ttl
}

// maxResponses is how many responses a value has at most; one with a whole day of history has 0.5 MB. The dashboard asks
// for one or two.
const maxResponses = 8

// response returns the response for a key, the part of the value that a request asks for. It is built once, however many
// ask.
func (v *cached[T]) response(key any, build func() *Response) *Response {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.responses) >= maxResponses && v.responses[key] == nil {
		clear(v.responses)
	}
	if v.responses[key] == nil {
		v.responses[key] = build()
	}
	return v.responses[key]
}

// unavailable responds to an error of a cache with 503 and Retry-After.
func unavailable(c *fiber.Ctx, message string, again time.Duration) error {
	c.Set(fiber.HeaderRetryAfter, strconv.Itoa(int(again.Seconds())))
	return fiber.NewError(fiber.StatusServiceUnavailable, message)
}
