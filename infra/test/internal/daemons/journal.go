package daemons

import (
	"bytes"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
)

// A Journal holds the log of daemons, for tests that read it while the daemons run. It also copies it to the test's output.
type Journal struct {
	mu   sync.Mutex
	text bytes.Buffer
	copy io.Writer // the test's output
}

// NewJournal returns a journal, and a logger that writes records of level info and above to it.
func NewJournal(t testing.TB) (*Journal, *slog.Logger) {
	j := &Journal{copy: t.Output()}
	return j, slog.New(slog.NewTextHandler(j, &slog.HandlerOptions{Level: slog.LevelInfo}))
}

// Write implements io.Writer.
func (j *Journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.text.Write(b)
	return j.copy.Write(b)
}

// Count returns the number of occurrences of a text.
func (j *Journal) Count(text string) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.Count(j.text.String(), text)
}
