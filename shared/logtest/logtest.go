// Package logtest has a log for tests of both daemons.
package logtest

import (
	"bytes"
	"encoding/json"
	"strings"
	"sync"
	"testing"
)

// A Log is a log that may be read while it is written.
type Log struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write implements io.Writer.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// Count returns how often the log has a text.
func (l *Log) Count(text string) int { return strings.Count(l.String(), text) }

// Lines returns the attributes of all lines of a log in JSON.
func (l *Log) Lines(t testing.TB) (all []map[string]any) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range bytes.Lines(l.text.Bytes()) {
		var attrs map[string]any
		if err := json.Unmarshal(line, &attrs); err != nil {
			t.Fatalf("got %v from the line %s", err, line)
		}
		all = append(all, attrs)
	}
	return all
}

// Find returns the attributes of the first line with a message in a log in JSON; nil if there is none.
func (l *Log) Find(t testing.TB, message string) map[string]any {
	t.Helper()
	for _, line := range l.Lines(t) {
		if line["msg"] == message {
			return line
		}
	}
	return nil
}
