// Package txfile reads transactions from files: a block in consensus serialisation, or text with one raw transaction in
// hex a line, plain or gzipped. It detects the format by the content, not by the name.
package txfile

import (
	"bufio"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/btcsuite/btcd/wire"
)

// Stdin is the file name for standard input.
const Stdin = "-"

// ErrFormat is wrapped by an Error about a file that is neither a block nor a list of transactions.
var ErrFormat = errors.New("expected a block in consensus serialisation, or text with one raw transaction in hex a line")

// An Error reports which file is malformed, where, and what was expected there.
type Error struct {
	File   string
	Offset int64 // bytes from the start, after gunzip
	Line   int   // from 1, for text; 0 for a block
	Err    error
}

func (e *Error) Error() string {
	if e.Line > 0 {
		return fmt.Sprintf("%s: line %d (byte %d): %v", e.File, e.Line, e.Offset, e.Err)
	}
	return fmt.Sprintf("%s: byte %d: %v", e.File, e.Offset, e.Err)
}

// Unwrap returns the error without the place.
func (e *Error) Unwrap() error { return e.Err }

// A File is the content of a file.
type File struct {
	Transactions []*wire.MsgTx // in the file's order, at least one
	Mined        time.Time     // a block's time from its header; zero for text
}

// Read reads the named file; Stdin reads from stdin. It fails as a whole: a price from half a file would look valid.
func Read(name string, stdin io.Reader) (*File, error) {
	if name == Stdin {
		return Decode("standard input", stdin)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return Decode(name, f)
}

// Decode is Read for an open file; errors call it name.
func Decode(name string, r io.Reader) (*File, error) {
	in := bufio.NewReaderSize(r, 64<<10)
	if isGzip(in) {
		z, err := gzip.NewReader(in)
		if err != nil {
			return nil, &Error{File: name, Err: fmt.Errorf("gzip: %w", err)}
		}
		in = bufio.NewReaderSize(z, 64<<10)
	}
	if isText(in) {
		return decodeText(name, in)
	}
	return decodeBlock(name, in)
}

func isGzip(in *bufio.Reader) bool {
	magic, _ := in.Peek(2)
	return len(magic) == 2 && magic[0] == 0x1f && magic[1] == 0x8b
}

// isText checks the first 80 bytes, as long as a block's header: 80 bytes of hex and white space are no header, since
// its time and target would have to be letters and digits too.
func isText(in *bufio.Reader) bool {
	const header = 80
	head, _ := in.Peek(header)
	for _, c := range head {
		if !isHex(c) && !isSpace(c) {
			return false
		}
	}
	return len(head) > 0
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }
