package hub

import (
	"encoding/json"
	"errors"
	"io"
	"net/netip"

	"sightglass/edge/ws"
)

// DeltaProtocol is the WebSocket subprotocol of clients that want changes; the others get each snapshot whole.
const DeltaProtocol = "sightglass.delta.v1"

var (
	plainText     = newEncoding("plain", func(f *frame) []byte { return text(f.JSON) })
	plainDeflated = newEncoding("plain_deflated", func(f *frame) []byte { return deflated(f.JSON) })

	keyframeText     = newEncoding("keyframe", func(f *frame) []byte { return text(f.keyframe()) })
	keyframeDeflated = newEncoding("keyframe_deflated", func(f *frame) []byte { return deflated(f.keyframe()) })

	// A delta is not deflated: it fits one TCP segment as it is.
	deltaText = newEncoding("delta", func(f *frame) []byte {
		if delta := f.delta(); delta != nil {
			return text(delta)
		}
		return nil
	})
)

// webSocketCodecs are indexed by whether deltas and whether deflated messages were negotiated.
var webSocketCodecs = [2][2]*codec{
	{newWebSocketCodec("plain", plainText, nil), newWebSocketCodec("plain_deflated", plainDeflated, nil)},
	{newWebSocketCodec("delta", keyframeText, deltaText), newWebSocketCodec("delta_deflated", keyframeDeflated, deltaText)},
}

func newWebSocketCodec(label string, whole, delta *encoding) *codec {
	return newCodec(codec{
		label: label, whole: whole, delta: delta, pongs: true,
		ping:    ws.AppendFrame(nil, ws.Ping, false, nil),
		closing: func(r reason) []byte { return ws.AppendClose(nil, r.code, r.text) },
	})
}

// headerRoom is the most bytes of a server's frame header.
const headerRoom = 10

func text(json []byte) []byte {
	return ws.AppendFrame(make([]byte, 0, headerRoom+len(json)), ws.Text, false, json)
}

func deflated(json []byte) []byte {
	payload := ws.Deflate(json)
	return ws.AppendFrame(make([]byte, 0, headerRoom+len(payload)), ws.Text, true, payload)
}

// ServeWebSocket takes over a connection after its handshake, with the address that it counts for, and returns. The hub
// closes it.
func (h *Hub) ServeWebSocket(conn *ws.Conn, addr netip.Addr) {
	delta, deflate := 0, 0
	if conn.Subprotocol == DeltaProtocol {
		delta = 1
	}
	if conn.Deflate {
		deflate = 1
	}
	h.serve(conn.Conn, addr, webSocketCodecs[delta][deflate], &webSocket{in: ws.NewReader(conn, maxMessage)})
}

// maxMessage is the most bytes of a client's message; a ping has about 50.
const maxMessage = 512

// A webSocket is the inbound half of a WebSocket.
type webSocket struct {
	in       *ws.Reader
	messages rateLimit
	closed   bool // the client sent a close frame, after which it sends nothing
	broken   bool // the client violated the protocol: what it sends has no meaning any more
}

func (*webSocket) greeting() []byte { return nil }

// rejection is a close frame: browsers do not tell scripts why a handshake failed.
func (*webSocket) rejection(r reason) []byte { return ws.AppendClose(nil, r.code, r.text) }

func (s *webSocket) read(c *client) reason {
	for {
		opcode, payload, err := s.next()
		if err != nil {
			return readReason(err)
		}
		now := c.hub.clock()
		c.received.Store(int64(now))
		c.hub.metrics.countMessage(opcode)
		if !s.messages.allow(now) {
			return tooManyMessages
		}
		switch opcode {
		case ws.Text:
			pong, ok := pongTo(payload)
			if !ok { // small and, by the rate limit, rare
				c.hub.metrics.ignored.Inc()
				continue
			}
			c.send(ws.AppendFrame(nil, ws.Text, false, pong))
		case ws.Binary:
			return reason{ws.CloseUnsupported, "text messages only"}
		case ws.Ping:
			c.send(ws.AppendFrame(nil, ws.Pong, false, payload))
		case ws.Close: // returned with the client's own code
			code, err := ws.CloseCode(payload)
			if err != nil {
				return readReason(err)
			}
			c.closeWith(left, ws.AppendClose(nil, code, ""), closeGrace)
			return left
		}
	}
}

// drain reads until the client has answered the close frame or hung up.
func (s *webSocket) drain(c *client) {
	const maxFrames = 2048 // bounds the time that a flooding client takes
	for n := 0; n < maxFrames && !s.broken; n++ {
		if s.closed && !c.behindNow() {
			return
		}
		if _, _, err := s.next(); err != nil && !s.broken {
			return
		}
	}
	// The input is not WebSocket any more, but it must be read all the same.
	io.CopyN(io.Discard, c.conn, maxFrames*maxMessage) //nolint:errcheck // it is over either way
}

func (s *webSocket) next() (opcode byte, payload []byte, err error) {
	opcode, payload, err = s.in.Next()
	_, s.broken = errors.AsType[*ws.Error](err)
	s.closed = s.closed || opcode == ws.Close
	return opcode, payload, err
}

// readReason is the reason behind an error of reading.
func readReason(err error) reason {
	if wrong, ok := errors.AsType[*ws.Error](err); ok {
		return reason{wrong.Code, wrong.Text}
	}
	return socketReason(err)
}

// pongTo returns the answer to {"type":"ping"}, with its timestamp if it has one; false if the message is something else.
func pongTo(message []byte) (pong []byte, ok bool) {
	var ping struct {
		Type      string          `json:"type"`
		Timestamp json.RawMessage `json:"timestamp"`
	}
	if json.Unmarshal(message, &ping) != nil || ping.Type != "ping" {
		return nil, false
	}
	if len(ping.Timestamp) == 0 {
		return []byte(`{"type":"pong"}`), true
	}
	pong = append([]byte(`{"type":"pong","timestamp":`), ping.Timestamp...)
	return append(pong, '}'), true
}
