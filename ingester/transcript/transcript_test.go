package transcript_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"

	"sightglass/ingester/testblock"
	"sightglass/ingester/transcript"
)

func nothing() ([]transcript.Line, error) { return nil, nil }

// write creates a file with the lines.
func write(t testing.TB, lines []transcript.Line) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "it.jsonl")
	w, err := transcript.NewWriter(path, 1<<40, nothing)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range lines {
		if err := w.Write(l); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

func read(t testing.TB, names ...string) []transcript.Line {
	t.Helper()
	lines, err := transcript.ReadFiles(names...)
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

func TestTranscript_RoundTrip(t *testing.T) {
	lines := []transcript.Line{
		{T: 0.5, Topic: "rawtx", Body: []byte{1, 2, 255}, Counter: 1<<32 - 1},
		{T: 1.25, Topic: "sequence", Body: []byte{}, Counter: 0},
		{T: 1.25, Method: "getrawmempool", Params: json.RawMessage("[false,true]"), Result: json.RawMessage(`{"txids":["<&>"]}`)},
		{T: 2, Method: "getblockcount", Params: json.RawMessage("[]"), Result: json.RawMessage("null")},
	}
	if got := read(t, write(t, lines)); !reflect.DeepEqual(got, lines) {
		t.Errorf("got  %+v\nwant %+v", got, lines)
	}
}

func TestReadFiles_RealTranscript(t *testing.T) {
	zmq, rpc := testblock.Data(t, "bitcoind/zmq.jsonl"), testblock.Data(t, "bitcoind/rpc.jsonl")
	lines := read(t, rpc, zmq)
	if len(lines) != 518 {
		t.Errorf("got %d lines, want the files' 495 and 23", len(lines))
	}
	if !slices.IsSortedFunc(lines, func(a, b transcript.Line) int { return int(1e6 * (a.T - b.T)) }) {
		t.Error("got lines out of order, want them ordered by time")
	}
	if again := read(t, write(t, lines)); len(again) != len(lines) {
		t.Errorf("got %d lines, want %d", len(again), len(lines))
	}
}

func TestReadFiles_ZMQFirstAtSameTime(t *testing.T) {
	path := write(t, []transcript.Line{
		{T: 1, Method: "a"}, {T: 1, Method: "b"}, {T: 1, Topic: "c"}, {T: 0, Method: "d"}, {T: 1, Topic: "e"},
	})
	var got string
	for _, l := range read(t, path) {
		got += l.Topic + l.Method
	}
	if got != "dceab" {
		t.Errorf("got the order %s, want dceab", got)
	}
}

func TestReadFiles_Gzip(t *testing.T) {
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	_, err := w.Write([]byte(`{"t":1,"topic":"rawtx","body":"00","seq":7}`))
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "it.gz")
	if err := os.WriteFile(path, z.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := read(t, path); len(got) != 1 || got[0].Counter != 7 {
		t.Errorf("got %+v", got)
	}
	if !transcript.IsFile(path) {
		t.Error("got false for a transcript, want true")
	}
	if transcript.IsFile(path + ".absent") {
		t.Error("got true for a missing file, want false")
	}
}

func TestRead_ErrorNamesLineAndFormat(t *testing.T) {
	for name, c := range map[string]struct{ line, want string }{
		"prose":            {"Dear Sir or Madam", "invalid character"},
		"an array":         {"[]", "cannot unmarshal"},
		"half a line":      {`{"t":1,"topic":"rawtx","bo`, "unexpected end"},
		"no time":          {`{"topic":"rawtx","body":"00","seq":0}`, `no "t"`},
		"a time too large": {`{"t":1e300,"topic":"rawtx","body":"00","seq":0}`, `no "t" within 1e+09 seconds`},
		"neither kind":     {`{"t":1}`, "not exactly one"},
		"both kinds":       {`{"t":1,"topic":"rawtx","method":"x"}`, "not exactly one"},
		"no body":          {`{"t":1,"topic":"rawtx","seq":0}`, `no "body"`},
		"no counter":       {`{"t":1,"topic":"rawtx","body":"00"}`, `no "seq"`},
		"no hex":           {`{"t":1,"topic":"rawtx","body":"0g","seq":0}`, `"body": encoding/hex`},
		"a large counter":  {`{"t":1,"topic":"rawtx","body":"00","seq":4294967296}`, "cannot unmarshal"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := transcript.Read(strings.NewReader("\n"+c.line+"\n"), "life.jsonl")
			if !errors.Is(err, transcript.ErrFormat) {
				t.Fatalf("got %v, want ErrFormat", err)
			}
			for _, want := range []string{"life.jsonl: line 2: ", c.want, `expected {"t":`} {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got  %v\nwant an error with %q", err, want)
				}
			}
		})
	}
}

func TestRead_BoundsLines(t *testing.T) {
	line := `{"t":1,"method":"x","result":"` + strings.Repeat("a", transcript.MaxLine) + `"}`
	_, err := transcript.Read(strings.NewReader("{\"t\":1,\"method\":\"x\"}\n"+line), "it")
	if err == nil || !strings.Contains(err.Error(), "it: line 2: over 67108864 bytes") {
		t.Errorf("got %v, want an error that line 2 is too long", err)
	}
}

func TestIs_DetectsTranscript(t *testing.T) {
	for head, want := range map[string]bool{"{": true, "\r\n\t {": true, "": false, "0100": false, "\n": false} {
		if transcript.Is([]byte(head)) != want {
			t.Errorf("%q: got %v, want the opposite", head, !want)
		}
	}
}

func TestSequence_RoundTrip(t *testing.T) {
	for _, letter := range "ARCD" {
		s := transcript.Sequence{Letter: byte(letter)}
		s.Hash[0] = 0xab
		if s.Letter == transcript.Added || s.Letter == transcript.Removed {
			s.Number = 1 << 40
		}
		body := s.Body()
		if body[31] != 0xab {
			t.Errorf("got the hash in another order than displayed: %x", body)
		}
		if got, err := transcript.ParseSequence(body); got != s || err != nil {
			t.Errorf("got %v %v, want %v", got, err, s)
		}
		if _, err := transcript.ParseSequence(append(body, 0)); !errors.Is(err, transcript.ErrSequence) {
			t.Errorf("%c and an extra byte: got %v, want ErrSequence", letter, err)
		}
	}
	for _, bad := range []string{"", strings.Repeat("x", 32), strings.Repeat("x", 32) + "X"} {
		if _, err := transcript.ParseSequence([]byte(bad)); !errors.Is(err, transcript.ErrSequence) {
			t.Errorf("%q: got %v, want ErrSequence", bad, err)
		}
	}
}

// TestWriter_Rotates writes far more than fits. The size on disk stays within its limit, each file starts with the
// baseline, and the newest lines are complete.
func TestWriter_Rotates(t *testing.T) {
	const maxSize = 400_000
	path := filepath.Join(t.TempDir(), "it.jsonl")
	baselines := 0
	w, err := transcript.NewWriter(path, maxSize, func() ([]transcript.Line, error) {
		baselines++
		return []transcript.Line{{Method: "baseline"}}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	const lines = 10_000
	for i := range lines {
		if err := w.Write(transcript.Line{T: float64(i), Topic: "rawtx", Body: make([]byte, 50), Counter: uint32(i)}); err != nil {
			t.Fatal(err)
		}
		if i%1000 == 0 && size(t, path)+size(t, path+".1") > maxSize {
			t.Fatalf("got %d and %d bytes on disk, want at most %d", size(t, path), size(t, path+".1"), maxSize)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	older, newer := read(t, path+".1"), read(t, path)
	if older[0].Method != "baseline" || newer[0].Method != "baseline" || baselines < 3 {
		t.Errorf("got files that start with %v and %v, %d baselines", older[0], newer[0], baselines)
	}
	kept := slices.Concat(older[1:], newer[1:])
	for i, l := range kept {
		if want := uint32(lines - len(kept) + i); l.Counter != want {
			t.Fatalf("line %d: got counter %d, want %d", i, l.Counter, want)
		}
	}
}

func size(t *testing.T, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return 0
	}
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

func TestWriter_KeepsFileWithoutBaseline(t *testing.T) {
	path := filepath.Join(t.TempDir(), "it.jsonl")
	down, isDown := errors.New("the node is down"), false
	w, err := transcript.NewWriter(path, 1, func() ([]transcript.Line, error) {
		if isDown {
			return nil, down
		}
		return nil, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	isDown = true
	large := transcript.Line{Topic: "rawtx", Body: make([]byte, 50_000)}
	if err := w.Write(large); !errors.Is(err, down) {
		t.Errorf("got %v, want the baseline's error", err)
	}
	if _, err := os.Stat(path + ".1"); !errors.Is(err, os.ErrNotExist) {
		t.Error("got a renamed file, want it to stay")
	}
}

func TestNewWriter_OverwritesNothing(t *testing.T) {
	path := write(t, []transcript.Line{{Topic: "rawtx"}})
	_, err := transcript.NewWriter(path, 1<<20, nothing)
	if err == nil || !strings.Contains(err.Error(), path+" exists already: choose another file") {
		t.Errorf("got %v, want an error", err)
	}
}

func TestWriter_FullDiskErrorNamesPath(t *testing.T) {
	w, err := transcript.NewWriter("/dev/full", 1000, nothing)
	if err != nil {
		t.Skipf("no /dev/full: %v", err)
	}
	if err := w.Write(transcript.Line{Topic: "rawtx"}); err != nil {
		t.Fatal(err)
	}
	if err := w.Flush(); !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "/dev/full") {
		t.Errorf("got %v, want ENOSPC with the path", err)
	}
	if err := w.Close(); err != nil {
		t.Errorf("got %v, want no second write of the same bytes", err)
	}
}

// TestWriter_TruncatesPartialLine makes the file system reject a write in its middle, by the limit on a file's size.
func TestWriter_TruncatesPartialLine(t *testing.T) {
	path := filepath.Join(t.TempDir(), "it.jsonl")
	w, err := transcript.NewWriter(path, 1<<40, nothing)
	if err != nil {
		t.Fatal(err)
	}
	line := transcript.Line{Topic: "rawtx", Body: make([]byte, 100)}
	limitFileSize(t, 1000)
	for range 10 {
		if err := w.Write(line); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Flush(); !errors.Is(err, syscall.EFBIG) {
		t.Fatalf("got %v, want EFBIG", err)
	}
	if got := read(t, path); len(got) != 4 {
		t.Errorf("got %d whole lines, want the 4 that fit", len(got))
	}
	w.Close()
}

func limitFileSize(t *testing.T, bytes uint64) {
	t.Helper()
	var old syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
		t.Fatal(err)
	}
	limit := old
	limit.Cur = bytes
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		t.Skipf("cannot limit a file's size: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
			t.Error(err)
		}
	})
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(`{"t":1.5,"topic":"rawtx","body":"00ff","seq":7}` + "\n" + `{"t":2,"method":"x","params":[1],"result":{"a":"<"}}`))
	f.Add([]byte(`{"t":-0,"method":"x"}`))
	f.Add([]byte("{"))
	f.Fuzz(func(t *testing.T, data []byte) {
		lines, err := transcript.Read(bytes.NewReader(data), "it")
		if err != nil {
			return
		}
		for i, l := range lines {
			if (l.Topic == "") == (l.Method == "") {
				t.Fatalf("line %d: got topic %q and method %q, want one of them", i, l.Topic, l.Method)
			}
		}
		once := written(t, lines)
		again, err := transcript.Read(bytes.NewReader(once), "what was written")
		if err != nil {
			t.Fatal(err)
		}
		if twice := written(t, again); !bytes.Equal(once, twice) {
			t.Errorf("got  %s\nwant %s", twice, once)
		}
	})
}

func written(t *testing.T, lines []transcript.Line) []byte {
	t.Helper()
	data, err := os.ReadFile(write(t, lines))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func Example() {
	lines, err := transcript.Read(strings.NewReader(`{"t":1.5,"topic":"rawtx","body":"00ff","seq":7}`), "life.jsonl")
	fmt.Println(lines[0].Topic, lines[0].Counter, len(lines[0].Body), err)
	// Output: rawtx 7 2 <nil>
}
