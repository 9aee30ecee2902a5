package feed

import (
	"github.com/fasthttp/websocket"

	"sightglass/shared/snapshot"
)

// A Frame is one snapshot in the forms in which it leaves the edge. Each form is built once, whatever the number of
// clients; a Frame does not change.
type Frame struct {
	Snapshot *snapshot.Snapshot
	JSON     []byte                     // as the ingester wrote it
	Plain    *websocket.PreparedMessage // JSON as a WebSocket text message; deflated once, for clients that want it
}

// NewFrame makes a frame from a snapshot's JSON, or says what is wrong with it.
func NewFrame(json []byte) (*Frame, error) {
	s, err := snapshot.Decode(json)
	if err != nil {
		return nil, err
	}
	return build(s, json)
}

func build(s *snapshot.Snapshot, json []byte) (*Frame, error) {
	plain, err := websocket.NewPreparedMessage(websocket.TextMessage, json)
	if err != nil {
		return nil, err
	}
	return &Frame{Snapshot: s, JSON: json, Plain: plain}, nil
}

// stale is the frame that tells clients that f is the last known and nothing newer comes.
func (f *Frame) stale() (*Frame, error) {
	s := *f.Snapshot
	s.Status = snapshot.Stale
	return build(&s, s.AppendJSON(nil))
}
