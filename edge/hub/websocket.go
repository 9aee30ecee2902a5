package hub

import (
	"encoding/json"
	"errors"
	"io"
	"net/netip"

	"sightglass/edge/ws"
)

// DeltaProtocol is the WebSocket subprotocol of clients that want deltas. Other clients get each snapshot whole.
const DeltaProtocol = "sightglass.delta.v1"

var (
	plainText     = newEncoding("plain", func(f *frame) []byte { return text(f.JSON) })
	plainDeflated = newEncoding("plain_deflated", func(f *frame) []byte { return deflated(f.JSON) })

	keyframeText     = newEncoding("keyframe", func(f *frame) []byte { return text(f.keyframe()) })
	keyframeDeflated = newEncoding("keyframe_deflated", func(f *frame) []byte { return deflated(f.keyframe()) })

	// Deltas are not deflated: they fit one TCP segment uncompressed.
	deltaText = newEncoding("delta", func(f *frame) []byte {
		if delta := f.delta(); delta != nil {
			return text(delta)
		}
		return nil
	})
)

// webSocketCodecs are indexed by whether deltas, and whether deflated messages, were negotiated.
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

// headerRoom is the maximum size of a server's frame header, in bytes.
const headerRoom = 10

func text(json []byte) []byte {
	return ws.AppendFrame(make([]byte, 0, headerRoom+len(json)), ws.Text, false, json)
}

func deflated(json []byte) []byte {
	payload := ws.Deflate(json)
	return ws.AppendFrame(make([]byte, 0, headerRoom+len(payload)), ws.Text, true, payload)
}

// ServeWebSocket hands a connection to the hub after its handshake, and returns. The limit of addr applies. The hub
// closes the connection.
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

// maxMessage is the maximum size of a client's message, in bytes. A ping has about 50.
const maxMessage = 512

// A webSocket is the session of a WebSocket client.
type webSocket struct {
	in       *ws.Reader
	messages rateLimit
	closed   bool // the client sent a close frame, which must be its last one
	broken   bool // the client violated the protocol, so its input can no longer be parsed
}

func (*webSocket) greeting() []byte { return nil }

// rejection is a close frame, because browsers do not show scripts why a handshake failed.
func (*webSocket) rejection(r reason) []byte { return ws.AppendClose(nil, r.code, r.text) }

func (s *webSocket) read(c *client) reason {
	for {
		opcode, payload, err := s.next()
		if err != nil {
			return readReason(err)
		}
		now := c.hub.clock()
		c.received.Store(int64(now))
		if counter := c.hub.metrics.messages[opcode]; counter != nil {
			counter.Inc()
		}
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
		case ws.Close: // echoed with the client's own code
			code, err := ws.CloseCode(payload)
			if err != nil {
				return readReason(err)
			}
			c.closeWith(left, ws.AppendClose(nil, code, ""), closeGrace)
			return left
		}
	}
}

// drain reads until the client has sent its close frame or closed the connection.
func (s *webSocket) drain(c *client) {
	const maxFrames = 2048 // bounds the time spent on a client that floods
	for n := 0; n < maxFrames && !s.broken; n++ {
		if s.closed && !c.behindNow() {
			return
		}
		if _, _, err := s.next(); err != nil && !s.broken {
			return
		}
	}
	// The input is no longer WebSocket, but must still be read.
	io.CopyN(io.Discard, c.conn, maxFrames*maxMessage) //nolint:errcheck // the connection is closed either way
}

func (s *webSocket) next() (opcode byte, payload []byte, err error) {
	opcode, payload, err = s.in.Next()
	_, s.broken = errors.AsType[*ws.Error](err)
	s.closed = s.closed || opcode == ws.Close
	return opcode, payload, err
}

// readReason returns the reason for a read error.
func readReason(err error) reason {
	if wrong, ok := errors.AsType[*ws.Error](err); ok {
		return reason{wrong.Code, wrong.Text}
	}
	return socketReason(err)
}

// pongTo returns the response to {"type":"ping"}, with its timestamp if it has one. It returns false for other
// messages.
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
