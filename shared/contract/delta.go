package contract

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
)

// The messages of the protocol sightglass.delta.v1, by their type.
const (
	typeKeyframe = "keyframe"
	typeDelta    = "delta"
)

// A Delta converts a snapshot to the next one: the points added and the number of points removed, and all other fields
// in full. It has no epoch, because a new epoch starts with a keyframe.
type Delta struct {
	Seq                          uint64 // of the next snapshot; the delta applies to Seq-1 only
	Price, Confidence, Low, High float64
	Status                       Status
	Stats                        Stats
	Timestamp                    float64
	Drop                         int     // number of the oldest points to remove
	Add                          []Point // points to append afterwards
}

// DeltaBetween returns the delta from old to s. It reports false if clients need a keyframe: s does not follow old, or
// they have no points in common. Its Add is a part of s.Transactions.
func DeltaBetween(old, s *Snapshot) (Delta, bool) {
	if s.Epoch != old.Epoch || s.Seq != old.Seq+1 {
		return Delta{}, false
	}
	drop := dropped(old.Transactions, s.Transactions)
	kept := len(old.Transactions) - drop
	if kept == 0 && len(old.Transactions) > 0 {
		return Delta{}, false
	}
	return Delta{
		Seq: s.Seq, Price: s.Price, Confidence: s.Confidence, Low: s.Low, High: s.High,
		Status: s.Status, Stats: s.Stats, Timestamp: s.Timestamp,
		Drop: drop, Add: s.Transactions[kept:],
	}, true
}

// dropped returns the smallest k for which points starts with old[k:].
func dropped(old, points []Point) (k int) {
	for k = range old {
		kept := old[k:]
		if len(kept) <= len(points) && slices.Equal(kept, points[:len(kept)]) {
			return k
		}
	}
	return len(old)
}

// Apply returns the snapshot after s, which it does not change. It fails if the delta does not apply to s.
func (d *Delta) Apply(s *Snapshot) (*Snapshot, error) {
	if d.Seq != s.Seq+1 {
		return nil, fmt.Errorf("%w: got a delta to seq %d after seq %d", ErrInvalidSnapshot, d.Seq, s.Seq)
	}
	if d.Drop < 0 || d.Drop > len(s.Transactions) {
		return nil, fmt.Errorf("%w: drop: %d of %d transactions", ErrInvalidSnapshot, d.Drop, len(s.Transactions))
	}
	next := &Snapshot{
		Price: d.Price, Confidence: d.Confidence, Stats: d.Stats, Timestamp: d.Timestamp,
		Low: d.Low, High: d.High, Status: d.Status, Seq: d.Seq, Epoch: s.Epoch,
		Transactions: slices.Concat(s.Transactions[d.Drop:], d.Add),
	}
	if err := next.validate(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalidSnapshot, err)
	}
	return next, nil
}

// AppendJSON appends the delta's message to dst, with the decimals of Snapshot.AppendJSON.
func (d *Delta) AppendJSON(dst []byte) []byte {
	dst = append(dst, `{"type":"delta","seq":`...)
	dst = strconv.AppendUint(dst, d.Seq, 10)
	dst = append(dst, `,"price":`...)
	dst = appendUSD(dst, d.Price)
	dst = append(dst, `,"confidence":`...)
	dst = appendProbability(dst, d.Confidence)
	dst = append(dst, `,"low":`...)
	dst = appendUSD(dst, d.Low)
	dst = append(dst, `,"high":`...)
	dst = appendUSD(dst, d.High)
	dst = append(dst, `,"status":"`...)
	dst = append(dst, d.Status...)
	dst = append(dst, `","stats":`...)
	dst = d.Stats.appendJSON(dst)
	dst = append(dst, `,"timestamp":`...)
	dst = appendSeconds(dst, d.Timestamp)
	dst = append(dst, `,"drop":`...)
	dst = strconv.AppendInt(dst, int64(d.Drop), 10)
	dst = append(dst, `,"add":[`...)
	for i, p := range d.Add {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, '[')
		dst = appendSeconds(dst, p.Timestamp)
		dst = append(dst, ',')
		dst = appendUSD(dst, p.Price)
		dst = append(dst, ']')
	}
	return append(dst, "]}"...)
}

// AppendKeyframe appends the delta protocol's message with the whole snapshot.
func (s *Snapshot) AppendKeyframe(dst []byte) []byte {
	dst = append(dst, `{"type":"keyframe",`...)
	return s.appendMembers(dst)
}

// A Replica rebuilds the snapshots of one connection of the delta protocol. The zero value is ready for its first
// message.
type Replica struct{ last *Snapshot }

// Apply decodes the connection's next message and returns its snapshot. After an error only a new connection helps. A
// message of unknown type is an error.
func (r *Replica) Apply(message []byte) (*Snapshot, error) {
	next, err := r.next(message)
	if err == nil {
		r.last = next
	}
	return next, err
}

func (r *Replica) next(message []byte) (*Snapshot, error) {
	var w wireDelta
	if err := json.Unmarshal(message, &w); err != nil {
		return nil, describe(ErrInvalidSnapshot, err)
	}
	switch {
	case w.Type == typeKeyframe:
		return DecodeSnapshot(message)
	case w.Type != typeDelta:
		return nil, fmt.Errorf("%w: type: got %q, want keyframe or delta", ErrInvalidSnapshot, clip(w.Type))
	case r.last == nil:
		return nil, fmt.Errorf("%w: a delta before the first keyframe", ErrInvalidSnapshot)
	}
	d, err := w.delta()
	if err != nil {
		return nil, err
	}
	return d.Apply(r.last)
}

// wireDelta is a Delta in JSON.
type wireDelta struct {
	Type       string      `json:"type"`
	Seq        uint64      `json:"seq"`
	Price      float64     `json:"price"`
	Confidence float64     `json:"confidence"`
	Low        float64     `json:"low"`
	High       float64     `json:"high"`
	Status     Status      `json:"status"`
	Stats      Stats       `json:"stats"`
	Timestamp  float64     `json:"timestamp"`
	Drop       int         `json:"drop"`
	Add        [][]float64 `json:"add"` // [timestamp, price]: half the size of an object
}

func (w *wireDelta) delta() (*Delta, error) {
	d := &Delta{
		Seq: w.Seq, Price: w.Price, Confidence: w.Confidence, Low: w.Low, High: w.High,
		Status: w.Status, Stats: w.Stats, Timestamp: w.Timestamp, Drop: w.Drop,
	}
	for i, p := range w.Add {
		if len(p) != 2 {
			return nil, fmt.Errorf("%w: add: index %d: want [timestamp, price]", ErrInvalidSnapshot, i)
		}
		d.Add = append(d.Add, Point{Timestamp: p[0], Price: p[1]})
	}
	return d, nil
}
