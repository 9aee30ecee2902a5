package commands

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sightglass/ingester"
	"sightglass/ingester/testblock"
	"sightglass/shared/daemon"
)

// parsed returns the command for a command line.
func parsed(t *testing.T, args ...string) *Replay {
	t.Helper()
	var c Replay
	parser, err := daemon.Program{LogComponents: ingester.LogComponents()}.Parser(&c)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parser.Parse(append([]string{"--zmq", "tcp://127.0.0.1:*"}, args...)); err != nil {
		t.Fatal(err)
	}
	return &c
}

func file(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestReplay_DetectsFileKind(t *testing.T) {
	life := file(t, "life.jsonl", `{"t":1,"topic":"rawtx","body":"00","seq":1}`)
	broken := file(t, "broken.jsonl", `{"t":1,"topic":"rawtx"}`)
	block := testblock.Path(t, testblock.Block540107)
	for name, c := range map[string]struct {
		args []string
		want string // in the error; empty: none
	}{
		"a transcript":          {[]string{life}, ""},
		"two transcripts":       {[]string{"--speed", "0", life, life}, ""},
		"transactions":          {[]string{block}, ""},
		"one of each":           {[]string{life, block}, "1 of the 2 files are transcripts, the others are not: replay them separately"},
		"a broken transcript":   {[]string{broken}, "broken.jsonl: line 1: no \"body\"; expected {"},
		"a speed below 0":       {[]string{"--speed=-1", life}, "speed -1: want 1"},
		"a bad address for RPC": {[]string{"--rpc-listen=nowhere", life}, "cannot serve RPC on nowhere"},
		"no such file":          {[]string{"absent"}, "no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			play, err := parsed(t, c.args...).player(strings.NewReader(""), io.Discard)
			if c.want == "" {
				if err != nil || play == nil {
					t.Fatal(err)
				}
				if err := play(ended(t)); err != nil { // play closes the socket
					t.Error(err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
		})
	}
}

// ended returns a cancelled context.
func ended(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}
