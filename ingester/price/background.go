package price

import "math"

// The background is what outputs would look like if nobody thought in dollars:
// a smooth density over the amount scale.
const (
	backgroundBins = 64 // per decade
	cellsPerBin    = cellsPerDecade / backgroundBins
	numBins        = amountCells / cellsPerBin

	// backgroundWidth is the smoothing's standard deviation in decades.
	backgroundWidth = 0.06
)

// background is the density of amounts, by bin of the amount scale.
type background struct {
	logDensity [numBins]float64 // ln of the share of outputs per cell
	mean       float64          // of log10 satoshi
	count      int              // outputs it was made of
}

// update makes the background anew from the counts of outputs by cell.
func (b *background) update(counts []int32, total int) {
	var bins, smooth [numBins]float64
	fold(&bins, counts, math.MaxFloat64, nil)
	gauss(&smooth, &bins)
	fold(&bins, counts, 3, &smooth)
	gauss(&smooth, &bins)
	sum, mean := 0.0, 0.0
	for i, n := range bins {
		sum += n
		mean += n * (float64(i) + 0.5) / backgroundBins
	}
	b.mean = priorMean
	if sum > 0 {
		b.mean = mean / sum
	}
	const priorWeight = 50
	for i := range b.logDensity {
		x := ((float64(i)+0.5)/backgroundBins - priorMean) / priorSpread
		prior := math.Exp(-x*x/2) / (math.Sqrt(2*math.Pi) * priorSpread) / cellsPerDecade
		b.logDensity[i] = math.Log((smooth[i]/cellsPerBin + priorWeight*prior) / (sum + priorWeight))
	}
	b.count = total
}

// The prior of the background: a log-normal.
const (
	priorMean   = 6.2 // log10 satoshi
	priorSpread = 1.5
)

// fold sums the counts into bins; no cell counts more than limit, or than four
// times its surroundings have on average if that is more.
func fold(bins *[numBins]float64, counts []int32, limit float64, around *[numBins]float64) {
	for i := range bins {
		cap := limit
		if around != nil {
			cap = max(cap, 4*around[i]/cellsPerBin)
		}
		sum := 0.0
		for _, n := range counts[i*cellsPerBin : (i+1)*cellsPerBin] {
			sum += min(float64(n), cap)
		}
		bins[i] = sum
	}
}

func gauss(dst, src *[numBins]float64) {
	const sigma = backgroundWidth * backgroundBins // in bins
	const reach = 16                               // 4 sigma
	var kernel [reach + 1]float64
	norm := 0.0
	for i := range kernel {
		kernel[i] = math.Exp(-float64(i*i) / (2 * sigma * sigma))
		norm += kernel[i]
		if i > 0 {
			norm += kernel[i]
		}
	}
	for i := range dst {
		sum := 0.0
		for j := -reach; j <= reach; j++ {
			if k := i + j; k >= 0 && k < numBins {
				sum += src[k] * kernel[max(j, -j)]
			}
		}
		dst[i] = sum / norm
	}
}
