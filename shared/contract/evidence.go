package contract

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
)

// Evidence is what a price was read from: histograms of the payments, and the probability of each price. An ingester
// computes it once a minute.
type Evidence struct {
	Timestamp  float64 // when it was computed, unix seconds, 3 decimals
	Price      float64 // the estimate in USD per bitcoin, 2 decimals; over 0
	Low, High  float64 // 90 % credible interval in USD, 2 decimals
	Confidence float64 // probability, 0 to 1, that the true price is within 1 % of Price, 3 decimals
	Amounts    AmountBins
	Prices     PriceBins
	Rungs      []Rung // the round amounts, ascending
}

// Bins are a histogram on a logarithmic scale. Bin k covers From*10^(Step*k) up to From*10^(Step*(k+1)).
type Bins struct {
	From    float64  // the lower edge of the first bin, at least 6 digits
	Step    float64  // the width of a bin in decades, at least 6 digits
	Seconds uint64   // how far back the payments reach
	Counts  []uint64 // payments by bin; at most MaxBins
}

// AmountBins are payments by their amounts, in satoshi.
type AmountBins struct {
	Bins
	Expected []float64 // by bin: how many there would be without round amounts, 1 decimal
}

// PriceBins are payments by the prices that they imply, in USD.
type PriceBins struct {
	Bins
	Probabilities []float64 // by bin: of the true price, 5 decimals. Prices beyond the bins have the rest
}

// A Rung is a round amount and the share of all payments that is expected to pay it.
type Rung struct {
	Dollars float64
	Share   float64
}

// The limits on evidence, beside those on numbers.
const (
	// MaxBins bounds the bins of a histogram, and the rungs. An ingester uses 640, 201 or 202, and 57.
	MaxBins = 4096

	maxEvidence = 1 << 18 // bytes: MaxBins in each list, of 10 digits
	maxDecades  = 32      // that a histogram covers, so that its edges are finite
	leastPrice  = 0.01    // USD
	leastDigits = 1e-6    // of a step and a lower edge: 12 decimals are 6 digits of it
	maxCount    = 1e9     // payments of a bin
	maxSatoshi  = 21e14   // all bitcoin
)

// AppendJSON appends the evidence's JSON to dst and returns the extended buffer. Numbers must be finite; DecodeEvidence
// checks that.
func (e *Evidence) AppendJSON(dst []byte) []byte {
	dst = appendShort(append(dst, `{"timestamp":`...), e.Timestamp, 3)
	dst = appendShort(append(dst, `,"price":`...), e.Price, 2)
	dst = appendShort(append(dst, `,"low":`...), e.Low, 2)
	dst = appendShort(append(dst, `,"high":`...), e.High, 2)
	dst = appendShort(append(dst, `,"confidence":`...), e.Confidence, 3)
	dst = e.Amounts.append(append(dst, `,"amounts":{`...))
	dst = appendList(append(dst, `,"expected":`...), e.Amounts.Expected, 1)
	dst = e.Prices.append(append(dst, `},"prices":{`...))
	dst = appendList(append(dst, `,"probabilities":`...), e.Prices.Probabilities, 5)
	dst = append(dst, `},"rungs":[`...)
	for i, r := range e.Rungs {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = strconv.AppendFloat(append(dst, '['), r.Dollars, 'f', -1, 64)
		dst = strconv.AppendFloat(append(dst, ','), r.Share, 'f', -1, 64)
		dst = append(dst, ']')
	}
	return append(dst, "]}"...)
}

// append appends the members of b.
func (b *Bins) append(dst []byte) []byte {
	dst = appendDigits(append(dst, `"from":`...), b.From)
	dst = appendDigits(append(dst, `,"step":`...), b.Step)
	dst = strconv.AppendUint(append(dst, `,"seconds":`...), b.Seconds, 10)
	dst = append(dst, `,"counts":[`...)
	for i, n := range b.Counts {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = strconv.AppendUint(dst, n, 10)
	}
	return append(dst, ']')
}

func appendList(dst []byte, values []float64, decimals int) []byte {
	dst = append(dst, '[')
	for i, v := range values {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendShort(dst, v, decimals)
	}
	return append(dst, ']')
}

// appendShort appends a number of at most some decimals, without zeros at its end: most of the lists is 0.
func appendShort(dst []byte, v float64, decimals int) []byte {
	dst = strconv.AppendFloat(dst, v, 'f', decimals, 64)
	if decimals == 0 {
		return dst
	}
	for dst[len(dst)-1] == '0' {
		dst = dst[:len(dst)-1]
	}
	if dst[len(dst)-1] == '.' {
		dst = dst[:len(dst)-1]
	}
	return dst
}

// appendDigits appends a number over 0 with 6 digits or, if it has more before the point, all of these: with the step
// and the first edge so, each edge is exact to 0.01 %.
func appendDigits(dst []byte, v float64) []byte {
	const digits, most = 6, 12
	return appendShort(dst, v, min(max(digits-1-int(math.Floor(math.Log10(v))), 0), most))
}

// ErrInvalidEvidence is wrapped by every error of DecodeEvidence. The error names the invalid key.
var ErrInvalidEvidence = errors.New("invalid evidence")

// DecodeEvidence decodes evidence. Unknown keys and further elements of a rung are ignored, so that an ingester may be
// newer than an edge. A key that is missing, of the wrong type or out of range is an error.
func DecodeEvidence(data []byte) (*Evidence, error) {
	if len(data) > maxEvidence {
		return nil, fmt.Errorf("%w: the whole: got %d bytes, want at most %d", ErrInvalidEvidence, len(data), maxEvidence)
	}
	var w wireEvidence
	if err := json.Unmarshal(data, &w); err != nil {
		return nil, describe(ErrInvalidEvidence, err)
	}
	e, err := w.evidence()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalidEvidence, err)
	}
	return e, nil
}

// wireEvidence is Evidence in JSON. Pointers distinguish a missing key from zero.
type wireEvidence struct {
	Timestamp  *float64     `json:"timestamp"`
	Price      *float64     `json:"price"`
	Low        *float64     `json:"low"`
	High       *float64     `json:"high"`
	Confidence *float64     `json:"confidence"`
	Amounts    *wireBins    `json:"amounts"`
	Prices     *wireBins    `json:"prices"`
	Rungs      *[][]float64 `json:"rungs"`
}

// wireBins are AmountBins or PriceBins in JSON.
type wireBins struct {
	From          *float64   `json:"from"`
	Step          *float64   `json:"step"`
	Seconds       *uint64    `json:"seconds"`
	Counts        *[]uint64  `json:"counts"`
	Expected      *[]float64 `json:"expected"`
	Probabilities *[]float64 `json:"probabilities"`
}

func (w *wireEvidence) evidence() (*Evidence, error) {
	var e Evidence
	for _, n := range []struct {
		key  string
		from *float64
		into *float64
		most float64
	}{
		{"timestamp", w.Timestamp, &e.Timestamp, MaxSeconds}, {"price", w.Price, &e.Price, MaxUSD},
		{"low", w.Low, &e.Low, MaxUSD}, {"high", w.High, &e.High, MaxUSD}, {"confidence", w.Confidence, &e.Confidence, 1},
	} {
		if n.from == nil {
			return nil, fmt.Errorf("%s: missing", n.key)
		}
		if err := checkRange(n.key, *n.from, n.most); err != nil {
			return nil, err
		}
		*n.into = *n.from
	}
	switch {
	case e.Price < leastPrice:
		return nil, fmt.Errorf("price: got %v, want at least %v", e.Price, leastPrice)
	case w.Amounts == nil:
		return nil, errors.New("amounts: missing")
	case w.Prices == nil:
		return nil, errors.New("prices: missing")
	case w.Rungs == nil:
		return nil, errors.New("rungs: missing")
	}
	var err error
	if e.Amounts.Expected, err = w.Amounts.decode(&e.Amounts.Bins, maxSatoshi, "expected", w.Amounts.Expected, maxCount); err != nil {
		return nil, fmt.Errorf("amounts: %w", err)
	}
	if e.Prices.Probabilities, err = w.Prices.decode(&e.Prices.Bins, MaxUSD, "probabilities", w.Prices.Probabilities, 1); err != nil {
		return nil, fmt.Errorf("prices: %w", err)
	}
	if e.Rungs, err = decodeRungs(*w.Rungs); err != nil {
		return nil, fmt.Errorf("rungs: %w", err)
	}
	return &e, nil
}

// decode checks a histogram and stores it in b. It returns the list beside the counts, which has the key beside and
// values of at most most. far is the largest lower edge.
func (w *wireBins) decode(b *Bins, far float64, beside string, list *[]float64, most float64) ([]float64, error) {
	switch {
	case w.From == nil:
		return nil, errors.New("from: missing")
	case w.Step == nil:
		return nil, errors.New("step: missing")
	case w.Seconds == nil:
		return nil, errors.New("seconds: missing")
	case w.Counts == nil:
		return nil, errors.New("counts: missing")
	case list == nil:
		return nil, fmt.Errorf("%s: missing", beside)
	case *w.From < leastDigits || *w.From > far:
		return nil, fmt.Errorf("from: got %v, want %v to %v", *w.From, leastDigits, far)
	case len(*w.Counts) == 0 || len(*w.Counts) > MaxBins:
		return nil, fmt.Errorf("counts: got %d, want 1 to %d", len(*w.Counts), MaxBins)
	case *w.Step < leastDigits || *w.Step*float64(len(*w.Counts)) > maxDecades:
		return nil, fmt.Errorf("step: got %v for %d bins, want at least %v and %d decades in all at most", *w.Step, len(*w.Counts), leastDigits, maxDecades)
	case len(*list) != len(*w.Counts):
		return nil, fmt.Errorf("%s: got %d, want %d as of counts", beside, len(*list), len(*w.Counts))
	}
	if err := checkRange("seconds", float64(*w.Seconds), MaxSeconds); err != nil {
		return nil, err
	}
	for i, n := range *w.Counts {
		if err := checkRange("counts", float64(n), maxCount); err != nil {
			return nil, fmt.Errorf("%w (index %d)", err, i)
		}
		if err := checkRange(beside, (*list)[i], most); err != nil {
			return nil, fmt.Errorf("%w (index %d)", err, i)
		}
	}
	*b = Bins{From: *w.From, Step: *w.Step, Seconds: *w.Seconds, Counts: *w.Counts}
	return *list, nil
}

func decodeRungs(rows [][]float64) ([]Rung, error) {
	if len(rows) > MaxBins {
		return nil, fmt.Errorf("got %d, want at most %d", len(rows), MaxBins)
	}
	rungs := make([]Rung, len(rows))
	for i, row := range rows {
		if len(row) < 2 {
			return nil, fmt.Errorf("index %d: want [dollars, share]", i)
		}
		r := Rung{Dollars: row[0], Share: row[1]}
		if r.Dollars <= 0 || r.Dollars > MaxUSD || i > 0 && r.Dollars <= rungs[i-1].Dollars {
			return nil, fmt.Errorf("index %d: dollars: got %v, want over 0, ascending, and at most %v", i, r.Dollars, MaxUSD)
		}
		if err := checkRange("share", r.Share, 1); err != nil {
			return nil, fmt.Errorf("index %d: %w", i, err)
		}
		rungs[i] = r
	}
	return rungs, nil
}
