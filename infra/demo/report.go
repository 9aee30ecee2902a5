package demo

import (
	"context"
	"fmt"
	"net/url"

	"sightglass/infra/standalone"
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

	standalone.Report(ctx, out, func() (string, bool) {
		clients := 0
		for _, e := range d.edges {
			clients += e.Clients()
		}
		return standalone.StatusLine(standalone.Latest(ctx, d.redis), clients), true
	})
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
