package fanout

import (
	"math/rand/v2"
	"time"

	"sightglass/shared/contract"
)

// A Source generates synthetic snapshots with the size and compressibility of an ingester's.
type Source struct {
	rng       *rand.Rand
	newPoints int // average number of new points in a snapshot
	latest    contract.Snapshot
	dropped   int // points of the snapshot before that latest lacks
	added     int // new points in latest
}

const (
	startPrice = 97_000 // USD; as many digits as the current price
	drift      = 5      // USD; standard deviation of the price change between snapshots
	scatter    = 0.01   // maximum relative distance of a point from the price; the engine's points are near it too
	sourceSeed = 5      // fixed, so that all runs have the same snapshots
)

// NewSource returns a source whose snapshots have the maximum number of points from the start, of which newPoints are new
// on average.
func NewSource(newPoints int, now time.Time) *Source {
	s := &Source{rng: rand.New(rand.NewPCG(sourceSeed, 0)), newPoints: newPoints}
	s.latest.Price, s.latest.Status, s.latest.Epoch = startPrice, contract.Live, contract.EpochAt(now)
	s.addPoints(contract.MaxTransactions, now.Add(-time.Minute), time.Minute)
	return s
}

// Next returns the next snapshot, with the time now and points from the last span of time. It is valid until the next
// call.
func (s *Source) Next(now time.Time, span time.Duration) *contract.Snapshot {
	n := &s.latest
	n.Seq++
	n.Price += s.rng.NormFloat64() * drift
	n.Low, n.High = n.Price*(1-scatter/4), n.Price*(1+scatter/4)
	n.Confidence = 0.9 + s.rng.Float64()/10
	n.Timestamp = float64(now.UnixMilli()) / 1000
	s.addPoints(s.newPoints/2+s.rng.IntN(s.newPoints+1), now.Add(-span), span)
	n.Stats.TotalReceived += uint64(s.added) * 2
	n.Stats.TotalFiltered += uint64(s.added)
	n.Stats.ActiveInWindow = n.Stats.TotalReceived - n.Stats.TotalFiltered
	n.Stats.UptimeSeconds = n.Seq / 2
	return n
}

// addPoints adds n points, evenly over a span of time, and drops the oldest.
func (s *Source) addPoints(n int, from time.Time, span time.Duration) {
	points := s.latest.Transactions
	s.added = min(n, contract.MaxTransactions)
	s.dropped = max(len(points)+s.added-contract.MaxTransactions, 0)
	points = append(points[:0], points[s.dropped:]...)
	for i := range s.added {
		at := from.Add(span * time.Duration(i) / time.Duration(s.added))
		points = append(points, contract.Point{
			Timestamp: float64(at.UnixMilli()) / 1000,
			Price:     s.latest.Price * (1 + scatter*(2*s.rng.Float64()-1)),
		})
	}
	s.latest.Transactions = points
}

// appendDelta appends the delta message from the snapshot before to the latest.
func (s *Source) appendDelta(dst []byte) []byte {
	n := &s.latest
	delta := contract.Delta{
		Seq: n.Seq, Price: n.Price, Confidence: n.Confidence, Low: n.Low, High: n.High,
		Status: n.Status, Stats: n.Stats, Timestamp: n.Timestamp,
		Drop: s.dropped, Add: n.Transactions[len(n.Transactions)-s.added:],
	}
	return delta.AppendJSON(dst)
}
