package feed

import (
	"sync"
	"sync/atomic"

	"sightglass/edge/ws"
	"sightglass/shared/snapshot"
)

// A Form is one of the ways in which a snapshot leaves the edge.
type Form int

// The forms. A delta is not deflated: it fits one segment as it is.
const (
	Plain Form = iota
	PlainDeflated
	Keyframe
	KeyframeDeflated
	Delta
	Forms // how many there are
)

func (f Form) String() string {
	return [Forms]string{"plain", "plain_deflated", "keyframe", "keyframe_deflated", "delta"}[f]
}

// A Frame is one snapshot as finished WebSocket frames, header and all: what is written to a socket is these bytes. Each
// form is built when it is first asked for, once, whatever the number of clients. A Frame does not change and is safe
// for concurrent use.
type Frame struct {
	Snapshot *snapshot.Snapshot
	JSON     []byte // as the ingester wrote it
	ID       uint64 // of this frame, in this process; never 0

	base   *snapshot.Snapshot // of the frame before, which the delta changes; nil: there is no delta
	baseID uint64
	forms  [Forms]struct {
		once  sync.Once
		bytes []byte
	}
}

var lastID atomic.Uint64

// NewFrame makes a frame from a snapshot's JSON, or says what is wrong with it. The frame before it, if there is one,
// is what its delta can be applied to.
func NewFrame(json []byte, before *Frame) (*Frame, error) {
	s, err := snapshot.Decode(json)
	if err != nil {
		return nil, err
	}
	f := &Frame{Snapshot: s, JSON: json, ID: lastID.Add(1)}
	if before != nil {
		// Only the snapshot is held: a frame that held the one before would hold all that ever were.
		f.base, f.baseID = before.Snapshot, before.ID
	}
	return f, nil
}

// stale is the frame that tells clients that f is the last known and nothing newer comes. It has no delta: its seq is
// not new.
func (f *Frame) stale() *Frame {
	s := *f.Snapshot
	s.Status = snapshot.Stale
	return &Frame{Snapshot: &s, JSON: s.AppendJSON(nil), ID: lastID.Add(1)}
}

// As gives the frame in a form. Its bytes are shared: nobody may change them. A Delta is nil if there is none.
func (f *Frame) As(form Form) []byte {
	built := &f.forms[form]
	built.once.Do(func() { built.bytes = f.build(form) })
	return built.bytes
}

// DeltaFrom gives the delta for a client that has the frame with this ID; nil if it needs the keyframe.
func (f *Frame) DeltaFrom(id uint64) []byte {
	if f.base == nil || id != f.baseID {
		return nil
	}
	return f.As(Delta)
}

func (f *Frame) build(form Form) []byte {
	switch form {
	case Plain:
		return text(f.JSON)
	case PlainDeflated:
		return deflated(f.JSON)
	case Keyframe:
		return text(f.keyframe())
	case KeyframeDeflated:
		return deflated(f.keyframe())
	default:
		return f.delta()
	}
}

func (f *Frame) keyframe() []byte {
	return f.Snapshot.AppendKeyframe(make([]byte, 0, len(f.JSON)+len(f.JSON)/8))
}

// delta is nil if the keyframe is no larger.
func (f *Frame) delta() []byte {
	d, ok := snapshot.DeltaBetween(f.base, f.Snapshot)
	if !ok {
		return nil
	}
	frame := text(d.AppendJSON(nil))
	if len(frame) >= len(f.As(Keyframe)) {
		return nil
	}
	return frame
}

const headerRoom = 10 // bytes that a server's header has at most

func text(json []byte) []byte {
	return ws.AppendFrame(make([]byte, 0, headerRoom+len(json)), ws.Text, false, json)
}

func deflated(json []byte) []byte {
	payload := ws.Deflate(json)
	return ws.AppendFrame(make([]byte, 0, headerRoom+len(payload)), ws.Text, true, payload)
}
