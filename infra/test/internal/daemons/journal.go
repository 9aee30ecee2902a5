package daemons

import (
	"bytes"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
)

// A Journal is what daemons log, to be read while they run. The test's output has it, too.
type Journal struct {
	mu   sync.Mutex
	text bytes.Buffer
	also io.Writer
}

// NewJournal makes a journal, and a logger that writes to it from level info on.
func NewJournal(t testing.TB) (*Journal, *slog.Logger) {
	j := &Journal{also: t.Output()}
	return j, slog.New(slog.NewTextHandler(j, &slog.HandlerOptions{Level: slog.LevelInfo}))
}

// Write implements io.Writer.
func (j *Journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.text.Write(b)
	return j.also.Write(b)
}

// Count is how often the journal has a text.
func (j *Journal) Count(text string) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.Count(j.text.String(), text)
}
