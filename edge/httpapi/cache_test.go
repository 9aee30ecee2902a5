package httpapi

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// A hung is a Redis that does not respond until it is released, and then returns an error.
type hung struct {
	fetches atomic.Int32
	waiting chan struct{} // receives a value for each fetch
	release chan struct{}
}

func newHung() *hung { return &hung{waiting: make(chan struct{}, 100), release: make(chan struct{})} }

func (h *hung) fetch(context.Context) (int, error) {
	h.fetches.Add(1)
	h.waiting <- struct{}{}
	<-h.release
	return 0, errors.New("no response")
}

func testCache(fetch func(context.Context) (int, error)) *cache[int] {
	counter := func() prometheus.Counter { return prometheus.NewCounter(prometheus.CounterOpts{}) }
	return &cache[int]{
		ttl: time.Second, fetch: fetch, equal: func(a, b int) bool { return a == b }, fetches: counter(), failures: counter(),
	}
}

// TestCache_HungRedisBlocksNoRequest: one request fetches, and all others get the cached value.
func TestCache_HungRedisBlocksNoRequest(t *testing.T) {
	const known = 7
	now, redis := time.Unix(1000, 0), newHung()
	c := testCache(func(context.Context) (int, error) { return known, nil })
	if _, err := c.get(t.Context(), now); err != nil {
		t.Fatal(err)
	}
	c.fetch = redis.fetch
	later := now.Add(time.Minute)
	var one sync.WaitGroup
	one.Go(func() {
		if v, err := c.get(t.Context(), later); err != nil || v.value != known {
			t.Errorf("the fetching request: got %v, %v, want the cached value", v, err)
		}
	})
	<-redis.waiting
	for range 20 { // a waiting request would block the test
		if v, err := c.get(t.Context(), later); err != nil || v.value != known {
			t.Errorf("got %v, %v, want the cached value", v, err)
		}
	}
	close(redis.release)
	one.Wait()
	if n := redis.fetches.Load(); n != 1 {
		t.Errorf("got %d fetches, want 1", n)
	}
}

// TestCache_RequestsWaitForFirstFetch: without a value one request fetches, and all requests get its result, however
// long it takes.
func TestCache_RequestsWaitForFirstFetch(t *testing.T) {
	now, redis := time.Unix(1000, 0), newHung()
	c := testCache(redis.fetch)
	var readers sync.WaitGroup
	for range 20 {
		readers.Go(func() {
			if _, err := c.get(t.Context(), now); !errors.Is(err, errUnavailable) {
				t.Errorf("got %v, want errUnavailable", err)
			}
		})
	}
	<-redis.waiting
	close(redis.release)
	readers.Wait()
	if n := redis.fetches.Load(); n != 1 {
		t.Errorf("got %d fetches, want 1", n)
	}
}

// TestCache_ResponsesExpireWithValue: an unchanged value keeps its responses across fetches; a new value has none.
func TestCache_ResponsesExpireWithValue(t *testing.T) {
	now, value := time.Unix(1000, 0), 7
	c := testCache(func(context.Context) (int, error) { return value, nil })
	responseAt := func(now time.Time) *Response {
		v, err := c.get(t.Context(), now)
		if err != nil {
			t.Fatal(err)
		}
		return v.response("key", func() *Response { return NewResponse(nil, "", "") })
	}
	first := responseAt(now)
	if again := responseAt(now.Add(time.Minute)); again != first {
		t.Error("got no response after a fetch of the same value, want the cached one")
	}
	value++
	if again := responseAt(now.Add(2 * time.Minute)); again == first {
		t.Error("got the old value's response, want a new one")
	}
}

// TestCache_FetchesOncePerTTL: also when the clock steps back.
func TestCache_FetchesOncePerTTL(t *testing.T) {
	now, fetches := time.Unix(1000, 0), 0
	c := testCache(func(context.Context) (int, error) { fetches++; return fetches, nil })
	for _, step := range []struct {
		at   time.Duration
		want int
	}{{0, 1}, {time.Second - 1, 1}, {time.Second, 2}, {1500 * time.Millisecond, 2}, {-time.Hour, 3}} {
		if v, err := c.get(t.Context(), now.Add(step.at)); err != nil || v.value != step.want {
			t.Errorf("after %v: got %v, %v, want the value of fetch %d", step.at, v, err, step.want)
		}
	}
}
