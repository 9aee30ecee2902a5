package rounds_test

import (
	"bytes"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"sightglass/shared/rounds"
)

// example is what testdata/points.json holds, the golden file of the contract.
var example = []rounds.Point{
	{Timestamp: 1556771671.25, Price: 5310, Amount: 20},
	{Timestamp: 1556771671.25, Price: 5313.57, Amount: 2.5},
	{Timestamp: 1556771672, Price: 5298.4, Amount: 10000},
}

func golden(t testing.TB) []byte {
	t.Helper()
	data, err := os.ReadFile("testdata/points.json")
	if err != nil {
		t.Fatal(err)
	}
	return bytes.TrimSpace(data)
}

func TestEncodingIsTheGoldenFile(t *testing.T) {
	if got := rounds.AppendJSON(nil, example); !bytes.Equal(got, golden(t)) {
		t.Errorf("the encoding changed, and with it the public contract\n got %s\nwant %s", got, golden(t))
	}
	if got := rounds.AppendJSON([]byte("x"), nil); string(got) != "x[]" {
		t.Errorf("none is encoded as %s", got)
	}
}

func TestDecodeGivesBackWhatWasEncoded(t *testing.T) {
	if got, err := rounds.Decode(golden(t)); err != nil || !slices.Equal(got, example) {
		t.Errorf("got %+v, %v, want %+v", got, err, example)
	}
}

func TestDecodeTakes(t *testing.T) {
	for name, c := range map[string]struct {
		data string
		want []rounds.Point
	}{
		"none":                        {`[]`, nil},
		"more fields, of any kind":    {`[[1.5,2,3,"new",{"a":[1]}]]`, []rounds.Point{{1.5, 2, 3}}},
		"spaces":                      {" [ [ 1.5 ,\t2 , 3 ] ]\n", []rounds.Point{{1.5, 2, 3}}},
		"other spellings of a number": {`[[15e-1,2.00,0.3e1]]`, []rounds.Point{{1.5, 2, 3}}},
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := rounds.Decode([]byte(c.data)); err != nil || !slices.Equal(got, c.want) {
				t.Errorf("got %+v, %v, want %+v", got, err, c.want)
			}
		})
	}
}

func TestDecodeNamesWhatIsWrong(t *testing.T) {
	for name, c := range map[string]struct{ data, want string }{
		"nothing":          {``, "not a JSON array of arrays"},
		"an object":        {`{"points":[]}`, "not a JSON array of arrays"},
		"objects":          {`[{"timestamp":1}]`, "not a JSON array of arrays"},
		"cut off":          {`[[1,2,3],[1`, "not a JSON array of arrays"},
		"an empty one":     {`[[]]`, "number 0: timestamp: missing"},
		"no amount":        {`[[1,2,3],[1,2]]`, "number 1: amount: missing"},
		"time a string":    {`[["1",2,3]]`, "timestamp"},
		"price null":       {`[[1,null,3]]`, "price"},
		"price infinite":   {`[[1,1e999,3]]`, "price"},
		"amount an array":  {`[[1,2,[3]]]`, "amount"},
		"amount negative":  {`[[1,2,-3]]`, "amount: -3 is not between 0"},
		"price beyond all": {`[[1,1e13,3]]`, "price: 1e+13"},
		"time far off":     {`[[9000000000000,2,3]]`, "timestamp: 9e+12 is not between 0"},
		"newest first":     {`[[2,2,3],[1,2,3]]`, "number 1: timestamp: 1 after 2"},
		"too many":         {"[" + strings.Repeat("[1,2,3],", 1000) + "[1,2,3]]", "1001 of them"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := rounds.Decode([]byte(c.data))
			if !errors.Is(err, rounds.ErrInvalid) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v\nwant an ErrInvalid that says %q", err, c.want)
			}
		})
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(golden(f))
	f.Add([]byte(`[[1,2,3,"x"]]`))
	f.Add([]byte(`[[1,[2]],3]`))
	f.Fuzz(func(t *testing.T, data []byte) {
		points, err := rounds.Decode(data)
		if err != nil {
			if !errors.Is(err, rounds.ErrInvalid) {
				t.Fatalf("an error of another kind: %v", err)
			}
			return
		}
		again, err := rounds.Decode(rounds.AppendJSON(nil, points))
		if err != nil || len(again) != len(points) {
			t.Fatalf("decoded once, but its own encoding does not decode: %v", err)
		}
	})
}
