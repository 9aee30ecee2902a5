package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// HealthCommand queries whether a running program is ready. It is for containers, whose image has no shell and no curl.
type HealthCommand struct {
	URL     string        `default:"${health_url}" help:"URL to query with GET. The program is ready if the status is 200."`
	Timeout time.Duration `default:"3s" help:"Timeout of the query."`
}

// Run prints the response in one line, or returns it as an error unless its status is 200.
func (c *HealthCommand) Run(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.URL, http.NoBody)
	if err != nil {
		return fmt.Errorf("--url: %w; want http://HOST:PORT/PATH", err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return fmt.Errorf("no response: %w", err)
	}
	defer response.Body.Close()
	const enough = 500 // bytes of the body, for one line
	body, err := io.ReadAll(io.LimitReader(response.Body, enough))
	if err != nil {
		return fmt.Errorf("%s: reading the response: %w", c.URL, err)
	}
	line := fmt.Sprintf("%s: %s: %s", c.URL, response.Status, strings.Join(strings.Fields(string(body)), " "))
	if response.StatusCode != http.StatusOK {
		return errors.New(line)
	}
	fmt.Println(line)
	return nil
}
