package contract

import (
	"bytes"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
)

// exampleEvidence is the evidence in testdata/evidence.json, the golden file of the contract.
func exampleEvidence() *Evidence {
	return &Evidence{
		Timestamp: 1556771670.5, Price: 5313.57, Low: 5301.2, High: 5326, Confidence: 0.957,
		Amounts: AmountBins{
			Bins:     Bins{From: 66983.1, Step: 0.00390625, Seconds: 10800, Counts: []uint64{12, 0, 105}},
			Expected: []float64{11.4, 11.4, 9},
		},
		Prices: PriceBins{
			Bins:          Bins{From: 4782.21, Step: 0.000434028, Seconds: 3600, Counts: []uint64{3, 41}},
			Probabilities: []float64{0, 0.12345},
		},
		Rungs: []Rung{{1, 0.00183}, {2.5, 0.0004}, {10000, 0.00062}},
	}
}

func TestEvidence_MatchesGoldenFile(t *testing.T) {
	if got, want := exampleEvidence().AppendJSON([]byte("x")), goldenMessage(t, "evidence.json"); !bytes.Equal(got[1:], want) {
		t.Errorf("got another encoding, want the public contract's\n got %s\nwant %s", got[1:], want)
	}
}

func TestEvidence_RoundTrip(t *testing.T) {
	if got, err := DecodeEvidence(goldenMessage(t, "evidence.json")); err != nil || !reflect.DeepEqual(got, exampleEvidence()) {
		t.Errorf("got %+v, %v, want %+v", got, err, exampleEvidence())
	}
}

// TestEvidence_EdgesAreExact: the encoding's last edge is within 0.01 % of the exact one, at any price.
func TestEvidence_EdgesAreExact(t *testing.T) {
	for _, from := range []float64{0.98765432, 9.4999999, 31.4159265, 66983.12345, 104_729.4567, 1_234_567.891, 999_999.96} {
		for _, bins := range []struct {
			step float64
			n    int
		}{{9.0 / 2304, 640}, {1.0 / 2304, 201}} {
			e := exampleEvidence()
			e.Amounts.Bins = Bins{From: from, Step: bins.step, Counts: make([]uint64, bins.n)}
			e.Amounts.Expected = make([]float64, bins.n)
			read, err := DecodeEvidence(e.AppendJSON(nil))
			if err != nil {
				t.Fatal(err)
			}
			edge := func(b Bins) float64 { return b.From * math.Pow(10, b.Step*float64(bins.n)) }
			if got, want := edge(read.Amounts.Bins), edge(e.Amounts.Bins); math.Abs(got/want-1) > 1e-4 {
				t.Errorf("from %v, step %v: got the last edge at %v, want %v", from, bins.step, got, want)
			}
		}
	}
}

func TestEvidence_DecodeIgnoresUnknown(t *testing.T) {
	text := string(goldenMessage(t, "evidence.json"))
	text = strings.NewReplacer(`{"from"`, `{"new":[1],"from"`, `"low"`, `"newer":null,"low"`, `0.00183]`, `0.00183,7]`).Replace(text)
	if got, err := DecodeEvidence([]byte(text)); err != nil || !reflect.DeepEqual(got, exampleEvidence()) {
		t.Errorf("got %+v, %v, want %+v", got, err, exampleEvidence())
	}
}

func TestEvidence_DecodeRejectsInvalid(t *testing.T) {
	many := func(n int, value string) string { return "[" + strings.Repeat(value+",", n-1) + value + "]" }
	for name, c := range map[string]struct{ old, new, want string }{
		"no object":             {`{"timestamp"`, `[{"timestamp"`, "not JSON"},
		"no price":              {`"price":5313.57,`, ``, "price: missing"},
		"price 0":               {`"price":5313.57`, `"price":0`, "price: got 0, want at least 0.01"},
		"price negative":        {`"price":5313.57`, `"price":-1`, "price: got -1, want 0 to"},
		"price infinite":        {`"price":5313.57`, `"price":1e999`, "price: got a JSON number 1e999"},
		"price text":            {`"price":5313.57`, `"price":"5313.57"`, "price: got a JSON string"},
		"no low":                {`"low":5301.2,`, ``, "low: missing"},
		"high null":             {`"high":5326`, `"high":null`, "high: missing"},
		"confidence over 1":     {`0.957`, `1.1`, "confidence: got 1.1, want 0 to 1"},
		"time far off":          {`1556771670.5`, `9e12`, "timestamp: got 9e+12"},
		"no amounts":            {`"amounts"`, `"sums"`, "amounts: missing"},
		"prices a list":         {`"prices":{`, `"prices":[],"more":{`, "prices: got a JSON array"},
		"no rungs":              {`"rungs"`, `"steps"`, "rungs: missing"},
		"no from":               {`"from":66983.1,`, ``, "amounts: from: missing"},
		"from 0":                {`66983.1`, `0`, "amounts: from: got 0"},
		"from too far":          {`66983.1`, `2.2e15`, "amounts: from: got 2.2e+15"},
		"price bins too far":    {`4782.21`, `1e13`, "prices: from: got 1e+13"},
		"step 0":                {`0.000434028`, `0`, "prices: step: got 0 for 2 bins"},
		"step too wide":         {`0.000434028`, `16.5`, "prices: step: got 16.5 for 2 bins"},
		"step missing":          {`"step":0.000434028,`, ``, "prices: step: missing"},
		"seconds negative":      {`10800`, `-1`, "amounts.seconds: got a JSON number -1, want an integer"},
		"seconds too many":      {`10800`, `9000000000000`, "amounts: seconds: got 9e+12"},
		"seconds missing":       {`"seconds":3600,`, ``, "prices: seconds: missing"},
		"counts missing":        {`"counts":[3,41],`, ``, "prices: counts: missing"},
		"counts none":           {`[3,41]`, `[]`, "prices: counts: got 0, want 1 to 4096"},
		"counts too many":       {`[3,41]`, many(4097, "1"), "prices: counts: got 4097, want 1 to 4096"},
		"a count of parts":      {`[3,41]`, `[3,4.5]`, "prices.counts: got a JSON number 4.5, want an integer"},
		"a count negative":      {`[3,41]`, `[3,-4]`, "prices.counts: got a JSON number -4, want an integer"},
		"a count too large":     {`[3,41]`, `[3,1000000001]`, "prices: counts: got 1.000000001e+09"},
		"expected missing":      {`"expected"`, `"hoped"`, "amounts: expected: missing"},
		"expected shorter":      {`[11.4,11.4,9]`, `[11.4,11.4]`, "amounts: expected: got 2, want 3"},
		"expected negative":     {`[11.4,11.4,9]`, `[11.4,-1,9]`, "amounts: expected: got -1"},
		"probabilities missing": {`"probabilities"`, `"odds"`, "prices: probabilities: missing"},
		"probability over 1":    {`[0,0.12345]`, `[0,1.5]`, "prices: probabilities: got 1.5, want 0 to 1 (index 1)"},
		"a rung alone":          {`[1,0.00183]`, `[1]`, "rungs: index 0: want [dollars, share]"},
		"rungs descending":      {`[2.5,`, `[0.5,`, "rungs: index 1: dollars: got 0.5"},
		"a rung of 0":           {`[1,0.00183]`, `[0,0.00183]`, "rungs: index 0: dollars: got 0"},
		"a share over 1":        {`0.00183`, `2`, "rungs: index 0: share: got 2"},
		"a rung of text":        {`0.00183`, `"x"`, "rungs: got a JSON string, want a number"},
		"too many rungs":        {`[[1,0.00183],[2.5,0.0004],[10000,0.00062]]`, many(4097, "[1,0]"), "rungs: got 4097"},
		"too long":              {`{"timestamp"`, `{"x":"` + strings.Repeat("x", 1<<18) + `","timestamp"`, "the whole: got 26"},
	} {
		t.Run(name, func(t *testing.T) {
			text := strings.Replace(string(goldenMessage(t, "evidence.json")), c.old, c.new, 1)
			_, err := DecodeEvidence([]byte(text))
			if !errors.Is(err, ErrInvalidEvidence) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v\nwant an ErrInvalid with %q", err, c.want)
			}
		})
	}
}

// TestEvidence_LargestFits: what the limits allow is not too long to be decoded.
func TestEvidence_LargestFits(t *testing.T) {
	e := exampleEvidence()
	e.Amounts.Counts, e.Amounts.Expected = make([]uint64, MaxBins), make([]float64, MaxBins)
	e.Prices.Counts, e.Prices.Probabilities = make([]uint64, MaxBins), make([]float64, MaxBins)
	e.Rungs = make([]Rung, MaxBins)
	for i := range MaxBins {
		e.Amounts.Counts[i], e.Amounts.Expected[i] = 1_234_567, 1_234_567.8
		e.Prices.Counts[i], e.Prices.Probabilities[i] = 1_234_567, 0.00012
		e.Rungs[i] = Rung{float64(i + 1), 0.00024}
	}
	text := e.AppendJSON(nil)
	if _, err := DecodeEvidence(text); err != nil {
		t.Errorf("got %v for %d bytes, want no error", err, len(text))
	}
}

func FuzzEvidence_Decode(f *testing.F) {
	f.Add(goldenMessage(f, "evidence.json"))
	f.Add([]byte(`{"amounts":{"counts":[1,null]},"prices":{},"rungs":[[1,2,3]]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := DecodeEvidence(data)
		if err != nil {
			if !errors.Is(err, ErrInvalidEvidence) {
				t.Fatalf("got error %v, want an ErrInvalid", err)
			}
			return
		}
		text := e.AppendJSON(nil)
		again, err := DecodeEvidence(text)
		if err != nil {
			t.Fatalf("got %v from its own encoding, want no error: %s", err, text)
		}
		if twice := again.AppendJSON(nil); !bytes.Equal(twice, text) {
			t.Fatalf("got another encoding of the same evidence\n got %s\nwant %s", twice, text)
		}
	})
}
