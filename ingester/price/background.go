package price

import "math"

// The background is what outputs would look like if nobody thought in dollars:
// a smooth density over the amount scale.
const (
	backgroundBins = 64 // per decade
	cellsPerBin    = cellsPerDecade / backgroundBins
	numBins        = amountCells / cellsPerBin

	// backgroundWidth is the smoothing's standard deviation in decades. 0.1 to
	// 0.2 do about as well, 0.06 and less follow the ladder itself.
	backgroundWidth = 0.15
)

// Before there are outputs the background is a broad log-normal, centred
// between the typical amounts of 2014 (10^6.8 satoshi) and 2024 (10^5.4), with
// the weight of fifty outputs; 5 to 200 make little difference.
const (
	priorMean   = 6.2 // log10 satoshi
	priorSpread = 1.5
	priorWeight = 50.0
)

// background is the density of amounts, by bin of the amount scale.
type background struct {
	logDensity [numBins]float64 // ln of the share of outputs per cell
	mean       float64          // of log10 satoshi
	count      int              // outputs it was made of

	trust [amountCells]uint16 // what an output of a cell counts, in 1/fullTrust

	prior       [numBins]float64 // share of outputs per cell
	priorWeight float64          // in outputs
}

func newBackground() background {
	b := background{mean: priorMean, priorWeight: priorWeight}
	for i := range b.prior {
		x := (binCentre(i) - priorMean) / priorSpread
		b.prior[i] = math.Exp(-x*x/2) / (math.Sqrt(2*math.Pi) * priorSpread * cellsPerDecade)
		b.logDensity[i] = math.Log(b.prior[i])
	}
	b.judge(nil, nil)
	return b
}

// binCentre returns the log10 of satoshi in the middle of a bin.
func binCentre(i int) float64 { return (float64(i) + 0.5) / backgroundBins }

// update rebuilds the background from the counts of outputs by cell.
func (b *background) update(counts []int32, total int) {
	var bins, smooth [numBins]float64
	fold(&bins, counts, nil)
	gauss(&smooth, &bins)
	fold(&bins, counts, &smooth)
	gauss(&smooth, &bins)
	sum, mean := 0.0, 0.0
	for i, n := range bins {
		sum += n
		mean += n * binCentre(i)
	}
	if sum > 0 {
		b.mean = mean / sum
	}
	for i := range b.logDensity {
		b.logDensity[i] = math.Log((smooth[i]/cellsPerBin + b.priorWeight*b.prior[i]) / (sum + b.priorWeight))
	}
	b.judge(counts, &smooth)
	b.count = total
}

// A cell counts no more than pileFloor outputs, or than pileFactor times what
// its surroundings have on average if that is more: the crest of a real rung is
// hardly higher, a batch or a favourite amount is.
const (
	pileFloor  = 3
	pileFactor = 4
)

// fold sums the counts into bins, piles capped if the surroundings are known.
func fold(bins *[numBins]float64, counts []int32, around *[numBins]float64) {
	for i := range bins {
		limit := math.MaxFloat64
		if around != nil {
			limit = max(pileFloor, pileFactor*around[i]/cellsPerBin)
		}
		sum := 0.0
		for _, n := range counts[i*cellsPerBin : (i+1)*cellsPerBin] {
			sum += min(float64(n), limit)
		}
		bins[i] = sum
	}
}

// fullTrust is the trust in an output that stands alone.
const fullTrust = 1 << 8

// trustFactor is how many times its surroundings a cell may have before its
// outputs are taken for a favourite amount that goes on for hours: the crest of
// the $100 rung, all at one price, has about five times. Above, they share the
// trust that many would have. Without it an amount that comes a dozen times a
// minute is read as a rung, and outdoes all others within the hour.
const trustFactor = 8

// judge decides how far the outputs of each cell are trusted.
func (b *background) judge(counts []int32, around *[numBins]float64) {
	for i := range b.trust {
		b.trust[i] = fullTrust
	}
	for i, n := range counts {
		limit := max(pileFloor, trustFactor*around[i/cellsPerBin]/cellsPerBin)
		if float64(n) > limit {
			b.trust[i] = uint16(fullTrust * limit / float64(n))
		}
	}
}

// clusterLimit is how many of a minute's outputs count in the cluster of a cell.
func (b *background) clusterLimit(cell, outputs int) float64 {
	return clusterFloor + clusterFactor*clusterCells*float64(outputs)*math.Exp(b.logDensity[cell/cellsPerBin])
}

// gauss smooths src by backgroundWidth.
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
