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

// errUnavailable is wrapped by every error of a cache: the fetch failed, and there is no earlier value.
var errUnavailable = errors.New("nothing from redis")

// A cache holds a value from Redis, fetched on demand and at most once per TTL. Requests get the cached value while it
// is fresh, and the last one during a fetch and after a failed fetch. A cache is safe for concurrent use.
type cache[T any] struct {
	ttl               time.Duration
	fetch             func(context.Context) (T, error)
	equal             func(a, b T) bool // an unchanged value keeps its responses
	fetches, failures prometheus.Counter

	fetching sync.Mutex // held during a fetch

	mu        sync.Mutex // guards the rest
	latest    *cached[T] // nil before the first fetch
	err       error      // of the last fetch
	fetchedAt time.Time  // start of the last fetch; zero before the first
}

// maxRetry is the longest time to the next fetch after one that failed.
const maxRetry = 5 * time.Second

// newCache returns an empty cache whose counters have its name as their label.
func newCache[T any](
	ttl time.Duration, fetch func(context.Context) (T, error), equal func(a, b T) bool, name string, fetches, failures *prometheus.CounterVec,
) *cache[T] {
	return &cache[T]{
		ttl: ttl, fetch: fetch, equal: equal, fetches: fetches.WithLabelValues(name), failures: failures.WithLabelValues(name),
	}
}

// A cached is a value and the responses built from it. The value must not be changed.
type cached[T any] struct {
	value T

	mu        sync.Mutex // also held while a response is built, which must not use more than one core
	responses map[any]*Response
}

// get returns the cached value, after fetching it if it is older than the TTL. Errors wrap errUnavailable.
func (c *cache[T]) get(ctx context.Context, now time.Time) (*cached[T], error) {
	latest, fetchedAt, fresh, err := c.look()
	if !fetchedAt.IsZero() && now.Sub(fetchedAt).Abs() < fresh { // absolute, so that a value expires even if the clock is set back
		return latest, err
	}
	if !c.fetching.TryLock() {
		if latest != nil {
			return latest, nil
		}
		c.fetching.Lock() // no value yet: all requests wait for the same fetch
	}
	defer c.fetching.Unlock()
	if latest, again, _, err := c.look(); !again.Equal(fetchedAt) { // another request fetched meanwhile; its result counts, however long it took
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

// look returns the cached value, when it was fetched and for how long that fetch counts.
func (c *cache[T]) look() (latest *cached[T], fetchedAt time.Time, fresh time.Duration, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	fresh = c.ttl
	if c.err != nil {
		fresh = min(fresh, maxRetry)
	}
	return c.latest, c.fetchedAt, fresh, c.errIfNone()
}

// errIfNone returns the last fetch's error if there is no value to serve instead.
func (c *cache[T]) errIfNone() error {
	if c.latest != nil {
		return nil
	}
	return c.err
}

// maxResponses bounds the responses kept for a value. One of the history takes up to 0.2 MB; the dashboard requests
// one or two spans.
const maxResponses = 8

// response returns the response for a key, which identifies the requested part of the value. It is built once.
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
