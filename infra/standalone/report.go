package standalone

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/redis/go-redis/v9"
	"golang.org/x/term"

	"sightglass/shared/contract"
)

// report prints a status line until ctx ends. If the output is not a terminal it stops when there is a price, or after
// maxLines: later the log's summaries are enough.
func (s *Standalone) report(ctx context.Context) error {
	client, err := s.opts.OpenRedis("sightglass-report")
	if err != nil {
		return err
	}
	defer client.Close()
	lines := 0
	Report(ctx, s.opts.Out, func() (line string, more bool) {
		lines++
		snapshot := Latest(ctx, client)
		return StatusLine(snapshot, s.edge.Clients()), isTerminal(s.opts.Out) || lines < maxLines && (snapshot == nil || snapshot.Price == 0)
	})
	return nil
}

// maxLines are those of three minutes, longer than a first price takes.
const maxLines = 36

// Report prints lines until ctx ends or there are no more: every 500 ms in place on a terminal, otherwise every 5 s.
func Report(ctx context.Context, out io.Writer, next func() (line string, more bool)) {
	interval, start, end := 5*time.Second, "", "\n"
	if isTerminal(out) {
		interval, start, end = 500*time.Millisecond, "\r\x1b[K", ""
	}
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for more := true; more; {
		select {
		case <-ctx.Done():
			fmt.Fprintln(out)
			return
		case <-ticker.C:
			var line string
			line, more = next()
			fmt.Fprint(out, start, line, end)
		}
	}
}

// LogWriter returns a writer for the log that ends a status line before each write, if both are on a terminal.
func LogWriter(log, status io.Writer) io.Writer {
	if isTerminal(log) && isTerminal(status) {
		return cleared{log}
	}
	return log
}

type cleared struct{ io.Writer }

func (c cleared) Write(line []byte) (int, error) {
	if _, err := io.WriteString(c.Writer, "\r\x1b[K"); err != nil {
		return 0, err
	}
	return c.Writer.Write(line)
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// Latest returns the newest snapshot in Redis; nil if there is none that can be read.
func Latest(ctx context.Context, client redis.UniversalClient) *contract.Snapshot {
	payload, err := client.Get(ctx, contract.KeyLatest).Bytes()
	snapshot, decodeErr := contract.DecodeSnapshot(payload)
	if errors.Join(err, decodeErr) != nil {
		return nil
	}
	return snapshot
}

// StatusLine describes a snapshot, or its absence, and the number of clients.
func StatusLine(s *contract.Snapshot, clients int) string {
	if s == nil {
		return fmt.Sprintf("no snapshot yet, clients %d", clients)
	}
	price := "no price yet"
	if s.Price > 0 {
		price = fmt.Sprintf("%.2f USD (%.2f to %.2f)", s.Price, s.Low, s.High)
	}
	from := ""
	if s.Stats.PeersWanted > 0 {
		from = fmt.Sprintf("  peers %d of %d", s.Stats.Peers, s.Stats.PeersWanted)
	}
	return fmt.Sprintf("%-9s %s  confidence %.3f  transactions %d%s  clients %d",
		s.Status, price, s.Confidence, s.Stats.TotalReceived, from, clients)
}
