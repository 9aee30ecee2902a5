package hub

import (
	"sync"
	"time"

	"sightglass/edge/feed"
	"sightglass/shared/contract"
)

// A codec puts snapshots on the wire for one kind of client: a protocol and what was negotiated in it. All clients of a
// codec share it and the bytes that it makes. A new kind of client is a file with its codecs, its session and the
// function that hands its connections to the hub; see websocket.go and events.go.
type codec struct {
	index   int
	label   string                // in metrics and logs
	whole   *encoding             // of a snapshot, for any client
	delta   *encoding             // from the snapshot before, for clients that have it; nil: none
	ping    []byte                // keeps proxies from closing a connection without snapshots
	pongs   bool                  // clients answer pings, so that one that does not is gone
	closing func(r reason) []byte // tells a client that the connection ends
}

// codecs holds every codec by its index.
var codecs []*codec

func newCodec(c codec) *codec {
	c.index = len(codecs)
	codecs = append(codecs, &c)
	return &c
}

// An encoding makes the bytes for a socket from a snapshot: a WebSocket frame with its header, or an event. They are
// built once for each snapshot, however many clients get them.
type encoding struct {
	index int
	label string // in metrics
	build func(f *frame) []byte
}

// encodings holds every encoding by its index. maxEncodings is how many there may be: their counters and frames are
// arrays.
var encodings []*encoding

const maxEncodings = 16

func newEncoding(label string, build func(f *frame) []byte) *encoding {
	e := &encoding{index: len(encodings), label: label, build: build}
	encodings = append(encodings, e)
	return e
}

// A frame is a snapshot on its way out: what the feed delivered, when, and its encodings. It is safe for concurrent use.
type frame struct {
	*feed.Update
	arrived time.Time
	built   [maxEncodings]struct {
		once  sync.Once
		bytes []byte
	}
}

// as returns the frame in an encoding, built on first demand. The bytes are shared: nobody may change them. They are nil
// if the encoding has nothing to say, as a delta that would be no smaller than the whole snapshot.
func (f *frame) as(e *encoding) []byte {
	built := &f.built[e.index]
	built.once.Do(func() { built.bytes = e.build(f) })
	return built.bytes
}

// pick returns the bytes for a client that has the snapshot with the given ID, 0 for none.
func (c *codec) pick(f *frame, has uint64) (*encoding, []byte) {
	if c.delta != nil && f.Base != nil && f.BaseID == has {
		if bytes := f.as(c.delta); bytes != nil {
			return c.delta, bytes
		}
	}
	return c.whole, f.as(c.whole)
}

// keyframe is the JSON of the delta protocol's message with the whole snapshot.
func (f *frame) keyframe() []byte {
	return f.Snapshot.AppendKeyframe(make([]byte, 0, len(f.JSON)+len(f.JSON)/8))
}

// delta is the JSON of the message with the changes since the base; nil if there is none or it saves nothing.
func (f *frame) delta() []byte {
	d, ok := contract.DeltaBetween(f.Base, f.Snapshot)
	if !ok {
		return nil
	}
	json := d.AppendJSON(nil)
	if len(json) >= len(f.JSON) {
		return nil
	}
	return json
}
