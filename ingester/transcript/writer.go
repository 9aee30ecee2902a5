package transcript

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
)

// A Writer writes a transcript to a file, and rotates the file when it is large. It is for one goroutine.
type Writer struct {
	path     string
	half     int64
	baseline func() ([]Line, error)
	rotates  bool

	file    *os.File
	written int64 // bytes of whole lines in the file
	base    int64 // bytes of the baseline at the file's start; they cause no rotation
	pending bytes.Buffer
}

// flushAt is how many pending bytes cause a write.
const flushAt = 64 << 10

// NewWriter creates the file at path, which must not exist or must be empty. The Writer starts with the lines of
// baseline, whose error is returned as it is. When the file exceeds half of maxSize bytes, it is renamed to path.1,
// replacing an older path.1, and a new file starts with a new baseline: at most about maxSize is on disk, and each of
// the two files can be replayed by itself. A path that is no regular file, such as a pipe, is never renamed.
func NewWriter(path string, maxSize int64, baseline func() ([]Line, error)) (*Writer, error) {
	w := &Writer{path: path, half: maxSize / 2, baseline: baseline}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		w.rotates = true
	case err != nil:
		return nil, err
	case info.Mode().IsRegular() && info.Size() > 0:
		return nil, fmt.Errorf("%s exists already: choose another file, or move the existing one", path)
	default:
		w.rotates = info.Mode().IsRegular()
	}
	lines, err := baseline()
	if err != nil {
		return nil, err
	}
	return w, w.open(lines)
}

// open creates the file and writes the baseline.
func (w *Writer) open(lines []Line) (err error) {
	if w.file, err = os.OpenFile(w.path, os.O_WRONLY|os.O_CREATE, 0o644); err != nil {
		return err
	}
	w.written = 0
	for _, l := range lines {
		if err := appendLine(&w.pending, l); err != nil {
			return fmt.Errorf("%s: %w", w.path, err)
		}
	}
	w.base = int64(w.pending.Len())
	return w.Flush()
}

// Write adds a line. It is on disk after Flush, or before. An error names the path; lines written before stay intact.
func (w *Writer) Write(l Line) error {
	before := w.pending.Len()
	if err := appendLine(&w.pending, l); err != nil {
		return fmt.Errorf("%s: %w", w.path, err)
	}
	if w.rotates && w.written+int64(w.pending.Len()) > max(w.half, w.base+flushAt) {
		line := bytes.Clone(w.pending.Bytes()[before:])
		w.pending.Truncate(before)
		if err := w.rotate(); err != nil {
			return err
		}
		w.pending.Write(line)
	}
	if w.pending.Len() >= flushAt {
		return w.Flush()
	}
	return nil
}

// Flush writes pending lines. If the disk is full, a partial line is truncated.
func (w *Writer) Flush() error {
	n, err := w.file.Write(w.pending.Bytes())
	if err == nil {
		w.written += int64(n)
		w.pending.Reset()
		return nil
	}
	w.written += int64(bytes.LastIndexByte(w.pending.Bytes()[:n], '\n') + 1)
	w.pending.Reset()
	if w.rotates {
		_, seekErr := w.file.Seek(w.written, io.SeekStart)
		err = errors.Join(err, w.file.Truncate(w.written), seekErr)
	}
	return fmt.Errorf("cannot write the transcript: %w", err) // an error of package os names the path
}

// rotate calls baseline first: if that fails, the old file stays in use.
func (w *Writer) rotate() error {
	lines, err := w.baseline()
	if err != nil {
		return err
	}
	if err := errors.Join(w.Close(), os.Rename(w.path, w.path+".1")); err != nil {
		return err
	}
	return w.open(lines)
}

// Close flushes and closes the file.
func (w *Writer) Close() error {
	return errors.Join(w.Flush(), w.file.Close())
}
