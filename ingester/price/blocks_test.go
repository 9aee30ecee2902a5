package price

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"sightglass/ingester/payment"
	"sightglass/ingester/testblock"
	"sightglass/ingester/txfile"
)

func TestXX(t *testing.T) {
	for _, c := range []struct {
		name  string
		truth float64
	}{{"362500", 242.9}, {"375000", 233.33}, {"425000", 588.48}, {"462500", 1198.72}, {"287500", 579.33}, {"574200", 5313.57}, {"799991", 29886}, {"840243", 64715}, {"866342", 68263}} {
		file, err := txfile.Read(testblock.Data(t, "blocks/"+c.name+".raw.gz"), nil)
		if err != nil {
			t.Fatal(err)
		}
		whole := slices.Concat(payment.All(file.Transactions)...)
		rng := rand.New(rand.NewPCG(1, 2))
		w, _ := NewBlockWeigher(nil)
		f, _ := NewBlockFilter(USD(c.truth))
		const n = 1440
		logp := 0.0
		var paths []float64
		var steps []Step
		for k := 0; k < n; k++ {
			gap := rng.ExpFloat64() * 10
			logp += rng.NormFloat64() * 0.04 * math.Sqrt(gap/1440)
			if k%400 == 399 {
				logp -= 0.1
			}
			paths = append(paths, c.truth*math.Exp(logp))
			var amounts []payment.Satoshi
			for range min(len(whole), 1500) {
				a := whole[rng.IntN(len(whole))]
				amounts = append(amounts, payment.Satoshi(float64(a)*math.Exp(-logp+rng.NormFloat64()*0.0005)))
			}
			steps = append(steps, Step{w.Weigh([][]payment.Satoshi{amounts})[0], time.Duration(gap * float64(time.Minute))})
		}
		var errs []float64
		conf, cover := 0.0, 0
		const chunk, look = 144, 36
		t0 := time.Now()
		for k := 0; k < n; k += chunk {
			m := min(chunk, n-k)
			es := f.Follow(steps[k:min(k+m+look, n)], m)
			for i, e := range es {
				errs = append(errs, math.Abs(float64(e.Price)/paths[k+i]-1))
				conf += e.Confidence / n
				if float64(e.Low) <= paths[k+i] && paths[k+i] <= float64(e.High) {
					cover++
				}
			}
		}
		el := time.Since(t0)
		last := errs[len(errs)-1]
		slices.Sort(errs)
		fmt.Printf("%s outputs %d: median %.2f%% 95%% %.2f%% worst %.2f%% last %.2f%% conf %.3f cover %.3f  %.2f ms/block\n", c.name, len(whole), 100*errs[n/2], 100*errs[n*95/100], 100*errs[n-1], 100*last, conf, float64(cover)/n, el.Seconds()*1000/n)
	}
}
