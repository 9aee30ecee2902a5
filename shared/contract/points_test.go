package contract

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
)

// exampleAmounts are the points in testdata/points.json, the golden file of the contract.
var exampleAmounts = []PointAmount{
	{Timestamp: 1556771671.25, Price: 5310, Amount: 20},
	{Timestamp: 1556771671.25, Price: 5313.57, Amount: 2.5},
	{Timestamp: 1556771672, Price: 5298.4, Amount: 10000},
}

func TestPointAmounts_MatchesGoldenFile(t *testing.T) {
	if got := AppendPointAmounts(nil, exampleAmounts); !bytes.Equal(got, goldenMessage(t, "points.json")) {
		t.Errorf("got another encoding, want the public contract's\n got %s\nwant %s", got, goldenMessage(t, "points.json"))
	}
	if got := AppendPointAmounts([]byte("x"), nil); string(got) != "x[]" {
		t.Errorf("no points: got %s, want []", got)
	}
}

func TestPointAmounts_RoundTrip(t *testing.T) {
	if got, err := DecodePointAmounts(goldenMessage(t, "points.json")); err != nil || !slices.Equal(got, exampleAmounts) {
		t.Errorf("got %+v, %v, want %+v", got, err, exampleAmounts)
	}
}

func TestPointAmounts_DecodeAccepts(t *testing.T) {
	for name, c := range map[string]struct {
		data string
		want []PointAmount
	}{
		"none":                        {`[]`, nil},
		"more fields, of any kind":    {`[[1.5,2,3,"new",{"a":[1]}]]`, []PointAmount{{1.5, 2, 3}}},
		"spaces":                      {" [ [ 1.5 ,\t2 , 3 ] ]\n", []PointAmount{{1.5, 2, 3}}},
		"other spellings of a number": {`[[15e-1,2.00,0.3e1]]`, []PointAmount{{1.5, 2, 3}}},
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := DecodePointAmounts([]byte(c.data)); err != nil || !slices.Equal(got, c.want) {
				t.Errorf("got %+v, %v, want %+v", got, err, c.want)
			}
		})
	}
}

func TestPointAmounts_DecodeRejectsInvalid(t *testing.T) {
	for name, c := range map[string]struct{ data, want string }{
		"no bytes":        {``, "not a JSON array of arrays"},
		"an object":       {`{"points":[]}`, "not a JSON array of arrays"},
		"objects":         {`[{"timestamp":1}]`, "not a JSON array of arrays"},
		"truncated":       {`[[1,2,3],[1`, "not a JSON array of arrays"},
		"an empty one":    {`[[]]`, "index 0: timestamp: missing"},
		"no amount":       {`[[1,2,3],[1,2]]`, "index 1: amount: missing"},
		"time a string":   {`[["1",2,3]]`, "timestamp"},
		"price null":      {`[[1,null,3]]`, "price"},
		"price infinite":  {`[[1,1e999,3]]`, "price"},
		"amount an array": {`[[1,2,[3]]]`, "amount"},
		"amount negative": {`[[1,2,-3]]`, "amount: got -3, want 0 to"},
		"price too large": {`[[1,1e13,3]]`, "price: got 1e+13"},
		"time far off":    {`[[9000000000000,2,3]]`, "timestamp: got 9e+12, want 0 to"},
		"newest first":    {`[[2,2,3],[1,2,3]]`, "index 1: timestamp: got 1 after 2"},
		"too many":        {"[" + strings.Repeat("[1,2,3],", 1000) + "[1,2,3]]", "got 1001, want at most"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := DecodePointAmounts([]byte(c.data))
			if !errors.Is(err, ErrInvalidPoints) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v\nwant an ErrInvalid with %q", err, c.want)
			}
		})
	}
}

func FuzzPointAmounts_Decode(f *testing.F) {
	f.Add(goldenMessage(f, "points.json"))
	f.Add([]byte(`[[1,2,3,"x"]]`))
	f.Add([]byte(`[[1,[2]],3]`))
	f.Fuzz(func(t *testing.T, data []byte) {
		points, err := DecodePointAmounts(data)
		if err != nil {
			if !errors.Is(err, ErrInvalidPoints) {
				t.Fatalf("got error %v, want an ErrInvalid", err)
			}
			return
		}
		again, err := DecodePointAmounts(AppendPointAmounts(nil, points))
		if err != nil || len(again) != len(points) {
			t.Fatalf("got %v from the points' own encoding, want no error", err)
		}
	})
}
