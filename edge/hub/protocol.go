package hub

import (
	"sightglass/edge/feed"
	"sightglass/edge/ws"
)

// A protocol is what a client agreed on in its handshake.
type protocol int

const (
	plain protocol = iota
	plainDeflated
	delta
	deltaDeflated
	protocols // how many there are
)

func (p protocol) String() string {
	return [protocols]string{"plain", "plain_deflated", "delta", "delta_deflated"}[p]
}

func protocolOf(conn *ws.Conn) protocol {
	p := plain
	if conn.Subprotocol == DeltaProtocol {
		p = delta
	}
	if conn.Deflate {
		p++
	}
	return p
}

// pick gives the frame in the form for a client that has another, by its ID; 0 if it has none.
func (p protocol) pick(f *feed.Frame, has uint64) (feed.Form, []byte) {
	form := [protocols]feed.Form{feed.Plain, feed.PlainDeflated, feed.Keyframe, feed.KeyframeDeflated}[p]
	if p >= delta && has != 0 {
		if bytes := f.DeltaFrom(has); bytes != nil {
			return feed.Delta, bytes
		}
	}
	return form, f.As(form)
}
