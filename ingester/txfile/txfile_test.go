package txfile_test

import (
	"bytes"
	"compress/gzip"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sightglass/ingester/testblock"
	"sightglass/ingester/txfile"
)

func block(t testing.TB) []byte {
	t.Helper()
	data, err := os.ReadFile(testblock.Path(t, testblock.Block540107))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func zipped(t testing.TB, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err := w.Write(data)
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// lines returns the block's transactions as text.
func lines(t testing.TB) []byte {
	t.Helper()
	f, err := txfile.Decode("block", bytes.NewReader(block(t)))
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	for _, tx := range f.Transactions {
		if err := tx.Serialize(hex.NewEncoder(&text)); err != nil {
			t.Fatal(err)
		}
		text.WriteByte('\n')
	}
	return text.Bytes()
}

func TestRead_FormatsGiveSameTransactions(t *testing.T) {
	for name, data := range map[string][]byte{
		"block":                 block(t),
		"gzipped block":         zipped(t, block(t)),
		"text":                  lines(t),
		"gzipped text":          zipped(t, lines(t)),
		"text, DOS line ends":   bytes.ReplaceAll(lines(t), []byte("\n"), []byte("\r\n")),
		"text, no last newline": bytes.TrimSpace(lines(t)),
		"text, empty lines":     bytes.ReplaceAll(lines(t), []byte("\n"), []byte("\n\n")),
		"text, upper case":      bytes.ToUpper(lines(t)),
	} {
		t.Run(name, func(t *testing.T) {
			f, err := txfile.Decode("it", bytes.NewReader(data))
			if err != nil {
				t.Fatal(err)
			}
			if len(f.Transactions) != 230 {
				t.Errorf("got %d transactions, want the block's 230", len(f.Transactions))
			}
			if strings.Contains(name, "block") && f.Mined.UTC().Format("2006-01-02") != "2018-09-05" {
				t.Errorf("got mined time %v, want 5 September 2018", f.Mined)
			}
		})
	}
}

func TestDecode_ErrorsNamePlaceAndFormat(t *testing.T) {
	whole, text := block(t), string(lines(t))
	second := strings.IndexByte(text, '\n') + 1
	for name, c := range map[string]struct {
		data []byte
		want []string
	}{
		"empty":             {nil, []string{"it: byte 0: the file is empty", "expected a block"}},
		"white space":       {[]byte(" \n\n"), []string{"only white space", "expected a block"}},
		"half a block":      {whole[:len(whole)/2], []string{"it: byte ", "not a block: expected ", " are left; expected a block"}},
		"no transactions":   {append(whole[:80:80], 0), []string{"it: byte 81: the block holds no transactions"}},
		"block and more":    {append(whole[:len(whole):len(whole)], 1, 2, 3), []string{"3 bytes follow"}},
		"prose":             {[]byte("Dear Sir or Madam"), []string{"it: byte ", "expected a block"}},
		"odd hex":           {[]byte(text[:second] + "abc\n" + text), []string{fmt.Sprintf("it: line 2 (byte %d)", second+3), "odd length", "expected a block"}},
		"hex, but no tx":    {[]byte(text[:second] + "abcd\n"), []string{fmt.Sprintf("line 2 (byte %d)", second), "not a transaction: expected a transaction's version"}},
		"half of a tx":      {[]byte(text[:second] + " abcd0000\n"), []string{fmt.Sprintf("line 2 (byte %d)", second+9), "expected the number of inputs, but 0 bytes are left"}},
		"not hex, later on": {[]byte(text[:second] + "00xyz\n"), []string{fmt.Sprintf("line 2 (byte %d)", second+2), "invalid byte"}},
		"truncated gzip":    {zipped(t, whole)[:1000], []string{"unexpected EOF"}},
		"gzip of nothing":   {zipped(t, nil), []string{"the file is empty"}},
		"broken gzip":       {[]byte{0x1f, 0x8b, 9, 9, 9}, []string{"gzip"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := txfile.Decode("it", bytes.NewReader(c.data))
			if _, ok := errors.AsType[*txfile.Error](err); !ok {
				t.Fatalf("got %v, want a txfile.Error", err)
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got  %v\nwant an error with %q", err, want)
				}
			}
		})
	}
}

// hostile returns files whose transactions claim more than is available, by claim and format.
func hostile() map[string][]byte {
	files := make(map[string][]byte)
	for name, raw := range testblock.Hostile() {
		files[name+", block"] = slices.Concat(make([]byte, 80), []byte{1}, raw)
		files[name+", text"] = hex.AppendEncode(nil, raw)
	}
	return files
}

func TestDecode_HostileClaims(t *testing.T) {
	for name, data := range hostile() {
		t.Run(name, func(t *testing.T) {
			_, err := txfile.Decode("it", bytes.NewReader(data))
			at, ok := errors.AsType[*txfile.Error](err)
			if !ok || at.Offset < 5 || at.Offset > int64(len(data)) || !strings.Contains(err.Error(), ": expected ") || !errors.Is(err, txfile.ErrFormat) {
				t.Errorf("got %v\nwant the offset of the claim, and what was expected", err)
			}
		})
	}
}

func TestRead_MissingFileAndStdin(t *testing.T) {
	if _, err := txfile.Read(filepath.Join(t.TempDir(), "absent"), nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v, want ErrNotExist", err)
	}
	f, err := txfile.Read(txfile.Stdin, bytes.NewReader(block(t)))
	if err != nil || len(f.Transactions) != 230 {
		t.Errorf("standard input: got %v, want the transaction", err)
	}
}

func isGzip(data []byte) bool { return bytes.HasPrefix(data, []byte{0x1f, 0x8b}) }

func FuzzDecode(f *testing.F) {
	f.Add(block(f)[:2000])
	f.Add([]byte("00\n"))
	f.Add(zipped(f, []byte("0100\n")))
	f.Add([]byte("01000000 01\nxyz"))
	for _, data := range hostile() {
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		read, err := txfile.Decode("it", bytes.NewReader(data))
		if err == nil && len(read.Transactions) == 0 {
			t.Error("got neither an error nor a transaction, want one")
		}
		if at, ok := errors.AsType[*txfile.Error](err); err != nil && (!ok || at.Offset < 0 || !isGzip(data) && at.Offset > int64(len(data))) {
			t.Errorf("got an error without an offset in the %d bytes: %v", len(data), err)
		}
	})
}
