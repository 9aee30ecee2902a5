package archive

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A hung is a Redis that answers nothing until it is let go, and then with an error.
type hung struct {
	asked   atomic.Int32
	waiting chan struct{} // gets one for each who asks
	release chan struct{}
}

func newHung() *hung { return &hung{waiting: make(chan struct{}, 100), release: make(chan struct{})} }

func (h *hung) ask(context.Context, *int) (*int, error) {
	h.asked.Add(1)
	h.waiting <- struct{}{}
	<-h.release
	return nil, errors.New("no answer")
}

// TestNobodyQueuesBehindAHungRedis: one asks, and all others have what is known.
func TestNobodyQueuesBehindAHungRedis(t *testing.T) {
	known, now, redis := 7, time.Unix(1000, 0), newHung()
	k := kept[int]{fresh: time.Second, ask: func(context.Context, *int) (*int, error) { return &known, nil }}
	if _, err := k.read(t.Context(), now); err != nil {
		t.Fatal(err)
	}
	k.ask = redis.ask
	later := now.Add(time.Minute)
	var one sync.WaitGroup
	one.Go(func() {
		if value, err := k.read(t.Context(), later); err != nil || *value != known {
			t.Errorf("who asked got %v, %v", value, err)
		}
	})
	<-redis.waiting
	for range 20 { // none of them waits, or this would never end
		if value, err := k.read(t.Context(), later); err != nil || *value != known {
			t.Errorf("got %v, %v", value, err)
		}
	}
	close(redis.release)
	one.Wait()
	if n := redis.asked.Load(); n != 1 {
		t.Errorf("redis was asked %d times", n)
	}
}

// TestAllWaitForTheFirstAnswer: while nothing is known one asks, and its answer is everybody's, however long it took.
func TestAllWaitForTheFirstAnswer(t *testing.T) {
	now, redis := time.Unix(1000, 0), newHung()
	k := kept[int]{fresh: time.Second, ask: redis.ask}
	var readers sync.WaitGroup
	for range 20 {
		readers.Go(func() {
			if _, err := k.read(t.Context(), now); !errors.Is(err, ErrUnavailable) {
				t.Errorf("got %v", err)
			}
		})
	}
	<-redis.waiting
	close(redis.release)
	readers.Wait()
	if n := redis.asked.Load(); n != 1 {
		t.Errorf("redis was asked %d times", n)
	}
}
