package fanout

import (
	"math/rand/v2"
	"strconv"
	"time"

	"sightglass/shared/contract"
)

// A Source makes up snapshots such as an ingester's: as large, and as hard to compress.
type Source struct {
	rng   *rand.Rand
	fresh int // new points in a snapshot, on average
	now   contract.Snapshot
	drop  int // points that the newest has no more
	add   int // and those that are new
}

const (
	startPrice = 97_000 // USD; as many digits as today's
	drift      = 5      // USD that the price moves between snapshots, typically
	scatter    = 0.01   // of the points around the price: the engine takes those that are near it
	sourceSeed = 5      // every run is given the same snapshots
)

// NewSource makes a source whose snapshots are full from the start, with so many new points in each, on average.
func NewSource(fresh int, now time.Time) *Source {
	s := &Source{rng: rand.New(rand.NewPCG(sourceSeed, 0)), fresh: fresh}
	s.now.Price, s.now.Status, s.now.Epoch = startPrice, contract.Live, contract.EpochAt(now)
	s.addPoints(contract.MaxTransactions, now.Add(-time.Minute), time.Minute)
	return s
}

// Next gives the next snapshot, which is good until the call after. It was computed at now, span after the last.
func (s *Source) Next(now time.Time, span time.Duration) *contract.Snapshot {
	n := &s.now
	n.Seq++
	n.Price += s.rng.NormFloat64() * drift
	n.Low, n.High = n.Price*(1-scatter/4), n.Price*(1+scatter/4)
	n.Confidence = 0.9 + s.rng.Float64()/10
	n.Timestamp = float64(now.UnixMilli()) / 1000
	s.addPoints(s.fresh/2+s.rng.IntN(s.fresh+1), now.Add(-span), span)
	n.Stats.TotalReceived += uint64(s.add) * 2
	n.Stats.TotalFiltered += uint64(s.add)
	n.Stats.ActiveInWindow = n.Stats.TotalReceived - n.Stats.TotalFiltered
	n.Stats.UptimeSeconds = n.Seq / 2
	return n
}

// addPoints adds n points over a span of time, and drops the oldest.
func (s *Source) addPoints(n int, from time.Time, span time.Duration) {
	points := s.now.Transactions
	s.add = min(n, contract.MaxTransactions)
	s.drop = max(len(points)+s.add-contract.MaxTransactions, 0)
	points = append(points[:0], points[s.drop:]...)
	for i := range s.add {
		at := from.Add(span * time.Duration(i) / time.Duration(s.add))
		points = append(points, contract.Point{
			Timestamp: float64(at.UnixMilli()) / 1000,
			Price:     s.now.Price * (1 + scatter*(2*s.rng.Float64()-1)),
		})
	}
	s.now.Transactions = points
}

// appendDelta appends what sightglass.delta.v1 says of the newest snapshot: the floor's message of that size.
func (s *Source) appendDelta(dst []byte) []byte {
	head := s.now
	head.Transactions = nil
	dst = append(dst, `{"type":"delta",`...)
	dst = append(dst, head.AppendJSON(nil)[1:]...)
	dst = append(dst[:len(dst)-1], `,"drop":`...)
	dst = strconv.AppendInt(dst, int64(s.drop), 10)
	dst = append(dst, `,"add":[`...)
	for i, p := range s.now.Transactions[len(s.now.Transactions)-s.add:] {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(strconv.AppendFloat(append(dst, '['), p.Timestamp, 'f', 3, 64), ',')
		dst = append(strconv.AppendFloat(dst, p.Price, 'f', 2, 64), ']')
	}
	return append(dst, "]}"...)
}
