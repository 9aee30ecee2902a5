package fanout

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// sampleEvery is the time between looks at a server whose clients come and go: sixty in ten minutes.
const sampleEvery = 10 * time.Second

// A Sample is what a server holds at one moment. Whatever grows from one sample to the next leaks.
type Sample struct {
	Seconds     float64 `json:"seconds"` // since the run began
	Clients     int     `json:"clients"`
	RSS         int64   `json:"rss_kib"`
	Goroutines  int     `json:"goroutines"`
	Descriptors int     `json:"descriptors"`
}

// sample adds a look at the server to the result, if the load has clients that come and go.
func (r *run) sample() error {
	if r.load.Churn == 0 {
		return nil
	}
	rss, err := r.server.Process.RSS()
	if err != nil {
		return err
	}
	s := Sample{Seconds: time.Since(r.began).Seconds(), RSS: rss / 1024}
	if r.server.Metrics != "" {
		if err := s.scrape(r.server.Metrics); err != nil {
			return err
		}
	}
	// After scraping: that leaves a connection open, from the first time on.
	if s.Descriptors, err = r.server.Process.Descriptors(); err != nil {
		return err
	}
	r.result.Soak = append(r.result.Soak, s)
	if r.load.Progress != nil {
		r.load.Progress(s)
	}
	return nil
}

// sampleUntil takes samples until ctx ends.
func (r *run) sampleUntil(ctx context.Context) error {
	for pause(ctx, sampleEvery) == nil {
		if err := r.sample(); err != nil {
			return err
		}
	}
	return nil
}

// scrape reads what only the server itself knows.
func (s *Sample) scrape(url string) error {
	answer, err := http.Get(url)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	wanted := map[string]*int{"go_goroutines": &s.Goroutines, "sightglass_clients": &s.Clients}
	s.Goroutines, s.Clients = 0, 0
	found := make(map[string]bool)
	lines := bufio.NewScanner(answer.Body)
	for lines.Scan() {
		series, value, _ := strings.Cut(lines.Text(), " ")
		name, _, _ := strings.Cut(series, "{") // clients are counted by protocol
		if into := wanted[name]; into != nil {
			n, err := strconv.ParseFloat(value, 64)
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			*into += int(n)
			found[name] = true
		}
	}
	if len(found) < len(wanted) {
		return fmt.Errorf("%s has not all of go_goroutines and sightglass_clients", url)
	}
	return lines.Err()
}
