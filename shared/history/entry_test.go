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

func TestEntry_MatchesGoldenFile(t *testing.T) {
	if got := exampleEntry.AppendJSON(nil); !bytes.Equal(got, golden(t, "entry.json")) {
		t.Errorf("got another encoding, want the public contract's\n got %s\nwant %s", got, golden(t, "entry.json"))
	}
}

func TestEntry_RoundTrip(t *testing.T) {
	if got, err := DecodeEntry(golden(t, "entry.json")); err != nil || got != exampleEntry {
		t.Errorf("got %+v, %v, want %+v", got, err, exampleEntry)
	}
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
	for name, c := range map[string]struct{ data, want string }{
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
	} {
		t.Run(name, func(t *testing.T) {
			_, err := DecodeEntry([]byte(c.data))
			if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v\nwant an ErrInvalid with %q", err, c.want)
			}
		})
	}
}

func FuzzEntry_Decode(f *testing.F) {
	f.Add(golden(f, "entry.json"))
	f.Add([]byte(`[1,2,3,4,0.5,"x"]`))
	f.Add([]byte(`[1,[2,3],4,5]`))
	f.Add([]byte(`nonsense`))
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := DecodeEntry(data)
		if err != nil {
			if !errors.Is(err, ErrInvalid) {
				t.Fatalf("got error %v, want an ErrInvalid", err)
			}
			return
		}
		var numbers []any
		if err := json.Unmarshal(data, &numbers); err != nil || numbers[1] != e.Price || numbers[4] != e.Confidence {
			t.Fatalf("%s: got %+v, want encoding/json's %v, %v", data, e, numbers, err)
		}
		if _, err := DecodeEntry(e.AppendJSON(nil)); err != nil {
			t.Fatalf("got %v from the entry's own encoding, want no error", err)
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
