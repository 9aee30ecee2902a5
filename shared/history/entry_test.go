package history

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
)

// exampleEntry is the entry in testdata/entry.json, the golden file of the contract.
var exampleEntry = Entry{Timestamp: 1556771672, Price: 5313.57, Low: 5301.1, High: 5325.9, Confidence: 0.987}

// exampleBlock is the block in testdata/block.json.
var exampleBlock = Block{Entry: exampleEntry, Height: 574200}

func TestEntry_MatchesGoldenFile(t *testing.T) {
	matchesGolden(t, "entry.json", exampleEntry, DecodeEntry)
}

func TestBlock_MatchesGoldenFile(t *testing.T) {
	matchesGolden(t, "block.json", exampleBlock, DecodeBlock)
}

// matchesGolden fails unless a row's encoding is that of a file, and decodes to the row.
func matchesGolden[T interface {
	row
	comparable
}](t *testing.T, file string, example T, decode func([]byte) (T, error)) {
	t.Helper()
	if got := example.AppendJSON(nil); !bytes.Equal(got, golden(t, file)) {
		t.Errorf("got another encoding, want the public contract's\n got %s\nwant %s", got, golden(t, file))
	}
	if got, err := decode(golden(t, file)); err != nil || got != example {
		t.Errorf("got %+v, %v, want %+v", got, err, example)
	}
}

func TestBlock_DecodeRejectsInvalid(t *testing.T) {
	rejects(t, DecodeBlock, map[string]struct{ data, want string }{
		"an entry":          {`[1,2,3,4,0]`, "height"},
		"height a fraction": {`[1,2,3,4,0,5.5]`, "height: got 5.5, want a whole number"},
		"height negative":   {`[1,2,3,4,0,-1]`, "height: got -1, want 0 to"},
		"height a string":   {`[1,2,3,4,0,"5"]`, "height"},
		"height far off":    {`[1,2,3,4,0,1e10]`, "height: got 1e+10"},
	})
}

func TestEntry_Slot(t *testing.T) {
	if got := exampleEntry.Slot(); got != 1556771670 {
		t.Errorf("got %d, want the ten seconds that began at 1556771670", got)
	}
}

func TestEntry_DecodeAccepts(t *testing.T) {
	for name, data := range map[string]string{
		"more fields, of whatever kind": `[1556771672,5313.57,5301.10,5325.90,0.987,"new",{"a":[1,2]}]`,
		"spaces":                        " [ 1556771672 , 5313.57,\t5301.1, 5325.9, 0.987 ]\n",
		"other spellings of a number":   `[1556771672,5.31357e3,53011e-1,5325.90,0.9870]`,
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := DecodeEntry([]byte(data)); err != nil || got != exampleEntry {
				t.Errorf("got %+v, %v, want %+v", got, err, exampleEntry)
			}
		})
	}
}

func TestEntry_DecodeRejectsInvalid(t *testing.T) {
	rejects(t, DecodeEntry, map[string]struct{ data, want string }{
		"no bytes":             {``, "not a JSON array"},
		"not JSON":             {`[1,2,3,4,5`, "not a JSON array"},
		"an object":            {`{"timestamp":1}`, "not a JSON array"},
		"empty":                {`[]`, "timestamp"},
		"too few":              {`[1,2,3,4]`, "confidence"},
		"time a fraction":      {`[1.5,2,3,4,0]`, "timestamp"},
		"time negative":        {`[-1,2,3,4,0]`, "timestamp: got -1, want 0 to"},
		"time far off":         {`[9000000000000,2,3,4,0]`, "timestamp: got 9e+12, want 0 to"},
		"price a string":       {`[1,"2",3,4,0]`, "price"},
		"price null":           {`[1,null,3,4,0]`, "price"},
		"price an array":       {`[1,[2],3,4,0]`, "price"},
		"price infinite":       {`[1,1e999,3,4,0]`, "price"},
		"low negative":         {`[1,2,-3,4,0]`, "low: got -3"},
		"high too large":       {`[1,2,3,1e13,0]`, "high: got 1e+13"},
		"confidence over 1":    {`[1,2,3,4,1.5]`, "confidence: got 1.5, want 0 to 1"},
		"a hexadecimal number": {`[1,0x2,3,4,0]`, "not a JSON array"},
	})
}

// rejects fails unless a decoder's error for each text is an ErrInvalid and contains another text.
func rejects[T row](t *testing.T, decode func([]byte) (T, error), cases map[string]struct{ data, want string }) {
	t.Helper()
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := decode([]byte(c.data))
			if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v\nwant an ErrInvalid with %q", err, c.want)
			}
		})
	}
}

func FuzzEntry_Decode(f *testing.F) {
	fuzzDecode(f, golden(f, "entry.json"), DecodeEntry, func(e Entry) []float64 {
		return []float64{float64(e.Timestamp), e.Price, e.Low, e.High, e.Confidence}
	})
}

func FuzzBlock_Decode(f *testing.F) {
	fuzzDecode(f, golden(f, "block.json"), DecodeBlock, func(b Block) []float64 {
		return []float64{float64(b.Timestamp), b.Price, b.Low, b.High, b.Confidence, float64(b.Height)}
	})
}

// fuzzDecode compares a decoder with encoding/json. members returns a row's members in their order.
func fuzzDecode[T row](f *testing.F, example []byte, decode func([]byte) (T, error), members func(T) []float64) {
	f.Helper()
	f.Add(example)
	f.Add([]byte(`[1,2,3,4,0.5,"x"]`))
	f.Add([]byte(`[1,2,3,1,2,0.5,7,8,[]]`))
	f.Add([]byte(`[1,[2,3],4,5]`))
	f.Add([]byte(`nonsense`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := decode(data)
		if err != nil {
			if !errors.Is(err, ErrInvalid) {
				t.Fatalf("got error %v, want an ErrInvalid", err)
			}
			return
		}
		var want []any
		if err := json.Unmarshal(data, &want); err != nil {
			t.Fatalf("%s: got %+v, want encoding/json's error %v", data, r, err)
		}
		for i, got := range members(r) {
			if got != want[i] {
				t.Fatalf("%s: got %+v, want encoding/json's %v", data, r, want)
			}
		}
		if _, err := decode(r.AppendJSON(nil)); err != nil {
			t.Fatalf("got %v from the row's own encoding, want no error", err)
		}
	})
}

func BenchmarkEntry_Decode(b *testing.B) {
	data := golden(b, "entry.json")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := DecodeEntry(data); err != nil {
			b.Fatal(err)
		}
	}
}

func golden(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.TrimSpace(data)
}
