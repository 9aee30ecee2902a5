package transcript

import (
	"bufio"
	"bytes"
	"cmp"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
)

// MaxLine bounds a line, in bytes: a block of 4 MB in hex fits eight times, and so does the largest mempool's list of
// txids.
const MaxLine = 64 << 20

// Read reads all lines of a transcript into memory and skips empty ones. It fails as a whole, and its error names the
// malformed line of name.
func Read(r io.Reader, name string) ([]Line, error) {
	in := bufio.NewScanner(r)
	in.Buffer(nil, MaxLine)
	var lines []Line
	number := 1
	for ; in.Scan(); number++ {
		text := bytes.TrimSpace(in.Bytes())
		if len(text) == 0 {
			continue
		}
		line, err := parse(text)
		if err != nil {
			return nil, fmt.Errorf("%s: line %d: %w; %w", name, number, err, ErrFormat)
		}
		lines = append(lines, line)
	}
	if err := in.Err(); err != nil {
		if errors.Is(err, bufio.ErrTooLong) {
			err = fmt.Errorf("over %d bytes; %w", MaxLine, ErrFormat)
		}
		return nil, fmt.Errorf("%s: line %d: %w", name, number, err)
	}
	return lines, nil
}

// ReadFiles reads files, gzipped or not, and merges their lines by time. Of lines at the same time, ZMQ lines come
// first, and then those of the file that is named first.
func ReadFiles(names ...string) ([]Line, error) {
	var lines []Line
	for _, name := range names {
		more, err := readFile(name)
		if err != nil {
			return nil, err
		}
		lines = append(lines, more...)
	}
	slices.SortStableFunc(lines, func(a, b Line) int {
		return cmp.Or(cmp.Compare(a.T, b.T), cmp.Compare(min(len(a.Method), 1), min(len(b.Method), 1)))
	})
	return lines, nil
}

func readFile(name string) ([]Line, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	in, err := gunzip(f)
	if err != nil {
		return nil, fmt.Errorf("%s: gzip: %w", name, err)
	}
	return Read(in, name)
}

// gunzip decompresses r if it is gzipped.
func gunzip(r io.Reader) (*bufio.Reader, error) {
	in := bufio.NewReader(r)
	if magic, _ := in.Peek(2); !bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		return in, nil
	}
	z, err := gzip.NewReader(in)
	if err != nil {
		return nil, err
	}
	return bufio.NewReader(z), nil
}

// Is reports whether the start of a file looks like a transcript's.
func Is(head []byte) bool {
	head = bytes.TrimLeft(head, " \t\r\n")
	return len(head) > 0 && head[0] == '{'
}

// IsFile reports whether the named file, gzipped or not, looks like a transcript. One that cannot be read does not.
func IsFile(name string) bool {
	f, err := os.Open(name)
	if err != nil {
		return false
	}
	defer f.Close()
	in, err := gunzip(f)
	if err != nil {
		return false
	}
	head, _ := in.Peek(512)
	return Is(head)
}
