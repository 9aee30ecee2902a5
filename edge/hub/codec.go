package hub

import (
	"sync"
	"time"

	"sightglass/edge/feed"
	"sightglass/shared/contract"
)

// A codec encodes snapshots for one kind of client: a protocol with its negotiated options. All clients of a codec
// share it and the bytes that it builds. A new kind of client needs a file with its codecs, its session and the
// function that hands its connections to the hub; see websocket.go and events.go.
type codec struct {
	index   int
	label   string                // in metrics and logs
	whole   *encoding             // the whole snapshot, for any client
	delta   *encoding             // the changes since the previous snapshot, for clients that have it; nil: none
	ping    []byte                // keeps proxies from closing a connection without snapshots
	pongs   bool                  // clients answer pings; one that does not is dead
	closing func(r reason) []byte // the message before the connection is closed
}

// codecs holds every codec by its index.
var codecs []*codec

func newCodec(c codec) *codec {
	c.index = len(codecs)
	codecs = append(codecs, &c)
	return &c
}

// An encoding encodes a snapshot as the bytes for a socket: a WebSocket frame with its header, or an event. The bytes
// are built once per snapshot and shared by all clients.
type encoding struct {
	index int
	label string // in metrics
	build func(f *frame) []byte
}

// encodings holds every encoding by its index. maxEncodings bounds them, because counters and frames have arrays of
// that size.
var encodings []*encoding

const maxEncodings = 16

func newEncoding(label string, build func(f *frame) []byte) *encoding {
	e := &encoding{index: len(encodings), label: label, build: build}
	encodings = append(encodings, e)
	return e
}

// A frame is an update of the feed with its time of arrival and its encodings. It is safe for concurrent use.
type frame struct {
	*feed.Update
	arrived time.Time
	built   [maxEncodings]struct {
		once  sync.Once
		bytes []byte
	}
}

// as returns the frame in an encoding, built at the first call. The bytes are shared and must not be changed. They are
// nil if the encoding does not apply, such as a delta that is no smaller than the whole snapshot.
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

// keyframe returns the JSON of the delta protocol's message with the whole snapshot.
func (f *frame) keyframe() []byte {
	return f.Snapshot.AppendKeyframe(make([]byte, 0, len(f.JSON)+len(f.JSON)/8))
}

// delta returns the JSON of the message with the changes since the base; nil if there is no base, or if the message is
// no smaller than the snapshot.
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
