package httpapi

import (
	"bytes"
	"image/png"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"sightglass/edge/feed"
	"sightglass/edge/picture"
	"sightglass/shared/contract"
)

var (
	isLive  = pictureKind{status: contract.Live, priced: true, sure: true}
	isStale = pictureKind{status: contract.Stale, priced: true, sure: true}
)

// TestPicture_DrawnOncePerTTL: sooner if it is wrong, and also when the clock steps back.
func TestPicture_DrawnOncePerTTL(t *testing.T) {
	now, drawn := time.Unix(1000, 0), 0
	var p sharedPicture
	for _, step := range []struct {
		at   time.Duration
		kind pictureKind
		want int
	}{
		{0, isLive, 1}, {changedTTL, isLive, 1}, {pictureTTL - 1, isLive, 1}, {pictureTTL, isLive, 2},
		{pictureTTL + changedTTL - 1, isStale, 2}, {pictureTTL + changedTTL, isStale, 3}, {2 * pictureTTL, isStale, 3},
		{-time.Hour, isStale, 4},
	} {
		p.get(now.Add(step.at), step.kind, func() []byte { drawn++; return nil })
		if drawn != step.want {
			t.Errorf("after %v: got %d drawings, want %d", step.at, drawn, step.want)
		}
	}
}

// TestPicture_OneDrawingAtATime: the first requests wait for the same drawing, and later ones get the last picture meanwhile.
func TestPicture_OneDrawingAtATime(t *testing.T) {
	var p sharedPicture
	now := time.Unix(1000, 0)
	begun, finish := make(chan struct{}, 100), make(chan struct{})
	slow := func() []byte { begun <- struct{}{}; <-finish; return []byte("1") }
	const requests = 20
	got := make(chan *Response, requests)
	var first sync.WaitGroup
	for range requests {
		first.Go(func() { got <- p.get(now, isLive, slow) })
	}
	<-begun
	close(finish)
	first.Wait()
	last := <-got
	for range requests - 1 {
		if r := <-got; r != last {
			t.Error("got another picture, want the same for all requests")
		}
	}

	later := now.Add(pictureTTL)
	finish = make(chan struct{})
	var second sync.WaitGroup
	second.Go(func() { p.get(later, isLive, slow) })
	<-begun
	for range requests { // a waiting request would block the test
		if r := p.get(later, isLive, slow); r != last {
			t.Error("got another picture during a drawing, want the last one")
		}
	}
	close(finish)
	second.Wait()
	if n := len(begun); n != 0 {
		t.Errorf("got %d more drawings, want 2 in total", n)
	}
}

// TestPicture_Responses: it is a PNG without a snapshot and without a Redis too, is not compressed again, and keeps its ETag.
func TestPicture_Responses(t *testing.T) {
	snapshot := &contract.Snapshot{Price: 5312.4, Low: 5300, High: 5330, Confidence: 0.9, Status: contract.Live, Timestamp: 1}
	for name, latest := range map[string]*feed.Update{"none": nil, "live": {Snapshot: snapshot}} {
		t.Run(name, func(t *testing.T) {
			client := redis.NewClient(&redis.Options{})
			if err := client.Close(); err != nil { // every command fails
				t.Fatal(err)
			}
			a := New(func() *feed.Update { return latest }, client, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
			app := fiber.New()
			app.Get("/og.png", a.Picture("a notice", false))
			response, body := request(t, app, "")
			if got, err := png.DecodeConfig(bytes.NewReader(body)); err != nil || got.Width != picture.Width || got.Height != picture.Height {
				t.Errorf("got %d x %d, error %v, want %d x %d", got.Width, got.Height, err, picture.Width, picture.Height)
			}
			for header, want := range map[string]string{
				"Content-Type": "image/png", "Cache-Control": "public, max-age=60", "Content-Encoding": "", "Vary": "", "X-Content-Type-Options": "nosniff",
			} {
				if got := response.Header.Get(header); got != want {
					t.Errorf("got %s %q, want %q", header, got, want)
				}
			}
			if again, _ := request(t, app, response.Header.Get("ETag")); again.StatusCode != http.StatusNotModified {
				t.Errorf("got %s with its ETag, want 304", again.Status)
			}
		})
	}
}

func request(t *testing.T, app *fiber.App, tag string) (*http.Response, []byte) {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, "/og.png", nil)
	r.Header.Set("Accept-Encoding", "gzip")
	if tag != "" {
		r.Header.Set("If-None-Match", tag)
	}
	response, err := app.Test(r, -1)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response, body
}
