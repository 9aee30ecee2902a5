package demo

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"os"
	"time"

	"golang.org/x/term"

	"sightglass/shared/contract"
)

// report prints the URLs, and then a status line until ctx ends: on a terminal every 500 ms in place, otherwise every 5 s.
func (d *Demo) report(ctx context.Context) {
	out := d.opts.Out
	fmt.Fprintln(out, "Sightglass demo: real transactions, replayed, without data from exchanges.")
	for _, url := range d.URLs() {
		fmt.Fprintf(out, "  dashboard  %s   stream  ws%s/ws/mempool\n", url, url[len("http"):len(url)-1])
	}
	fmt.Fprintf(out, "  redis      redis-cli -u %s SUBSCRIBE %s\nCtrl-C stops the demo.\n", redacted(d.redisURL), contract.Channel)

	interval, start, end := 5*time.Second, "", "\n"
	if isTerminal(out) {
		interval, start, end = 500*time.Millisecond, "\r\x1b[K", ""
	}
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			fmt.Fprintln(out)
			return
		case <-ticker.C:
			fmt.Fprint(out, start, d.status(ctx), end)
		}
	}
}

// redacted returns a URL without its password and its parameters, which may contain one too.
func redacted(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return "URL"
	}
	u.RawQuery = ""
	return u.Redacted()
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// status returns the status line.
func (d *Demo) status(ctx context.Context) string {
	clients := 0
	for _, e := range d.edges {
		clients += e.Clients()
	}
	payload, err := d.redis.Get(ctx, contract.KeyLatest).Bytes()
	if err != nil {
		return fmt.Sprintf("no snapshot yet, clients %d", clients)
	}
	s, err := contract.DecodeSnapshot(payload)
	if err != nil {
		return err.Error()
	}
	price := "no price yet"
	if s.Price > 0 {
		price = fmt.Sprintf("%.2f USD (%.2f to %.2f)", s.Price, s.Low, s.High)
	}
	return fmt.Sprintf("%-9s %s  confidence %.3f  transactions %d  clients %d",
		s.Status, price, s.Confidence, s.Stats.TotalReceived, clients)
}
