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

// sampleInterval is the time between samples of a server with churn.
const sampleInterval = 10 * time.Second

// A Sample is a server's resource usage at one time. A value that keeps growing indicates a leak.
type Sample struct {
	Seconds     float64 `json:"seconds"` // since the start of the run
	Clients     int     `json:"clients"`
	RSS         int64   `json:"rss_kib"`
	Goroutines  int     `json:"goroutines"`
	Descriptors int     `json:"descriptors"`
}

// sample adds a sample of the server to the result and reports it, if the load has churn.
func (r *run) sample() error {
	if r.load.Churn == 0 {
		return nil
	}
	rss, err := r.server.Process.RSS()
	if err != nil {
		return err
	}
	s := Sample{Seconds: time.Since(r.start).Seconds(), RSS: rss / 1024}
	if r.server.Metrics != "" {
		if err := s.scrape(r.server.Metrics); err != nil {
			return err
		}
	}
	// After scraping, which keeps a connection open from the first sample on.
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
	for sleep(ctx, sampleInterval) == nil {
		if err := r.sample(); err != nil {
			return err
		}
	}
	return nil
}

// scrape reads the numbers of goroutines and clients from the server's metrics.
func (s *Sample) scrape(url string) error {
	response, err := http.Get(url)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	wanted := map[string]*int{"go_goroutines": &s.Goroutines, "sightglass_clients": &s.Clients}
	s.Goroutines, s.Clients = 0, 0
	found := make(map[string]bool)
	lines := bufio.NewScanner(response.Body)
	for lines.Scan() {
		series, value, _ := strings.Cut(lines.Text(), " ")
		name, _, _ := strings.Cut(series, "{") // there is a series of clients for each protocol
		if target := wanted[name]; target != nil {
			n, err := strconv.ParseFloat(value, 64)
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			*target += int(n)
			found[name] = true
		}
	}
	if len(found) < len(wanted) {
		return fmt.Errorf("%s lacks go_goroutines or sightglass_clients", url)
	}
	return lines.Err()
}
