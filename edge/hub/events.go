package hub

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
)

// Server-sent events (WHATWG HTML, section 9.2): an HTTP response without an end, for EventSource in browsers and for
// curl -N.

var (
	eventSnapshot = newEncoding("event", func(f *frame) []byte { return f.event("snapshot", f.JSON) })
	eventKeyframe = newEncoding("event_keyframe", func(f *frame) []byte { return f.event("keyframe", f.keyframe()) })
	eventDelta    = newEncoding("event_delta", func(f *frame) []byte {
		if delta := f.delta(); delta != nil {
			return f.event("delta", delta)
		}
		return nil
	})

	wholeEvents = newEventCodec("events", eventSnapshot, nil)
	deltaEvents = newEventCodec("events_delta", eventKeyframe, eventDelta)
)

func newEventCodec(label string, whole, delta *encoding) *codec {
	return newCodec(codec{label: label, whole: whole, delta: delta, ping: []byte(":\n\n"), closing: closingEvent})
}

// event returns an event whose id names the snapshot.
func (f *frame) event(name string, data []byte) []byte {
	if bytes.ContainsAny(data, "\r\n") { // a line break between JSON tokens would end the data line
		var compact bytes.Buffer
		if err := json.Compact(&compact, data); err != nil {
			panic(err) // unreachable: the feed has decoded it
		}
		data = compact.Bytes()
	}
	return fmt.Appendf(make([]byte, 0, 64+len(data)), "event: %s\nid: %s-%d\ndata: %s\n\n", name, f.Snapshot.Epoch, f.Snapshot.Seq, data)
}

// closingEvent returns the event that ends the stream: a close code, a reason, and the time for which EventSource waits
// before it reconnects. That time is random, so that the clients of an edge that stops do not all reconnect at once.
func closingEvent(r reason) []byte {
	return fmt.Appendf(nil, "event: close\nretry: %d\ndata: {\"code\":%d,\"reason\":%q}\n\n", retryMilliseconds(), r.code, r.text)
}

// retryMilliseconds returns 1,000 to 4,999: an edge is replaced within seconds, and a new connection gets the price at
// once.
func retryMilliseconds() int { return 1000 + rand.IntN(4000) }

// ServeEvents hands the connection of a request for events to the hub, and returns. The limit of addr applies. header
// is the response's, without Content-Length: the stream ends with the connection. Rejections are HTTP errors. The hub
// closes the connection.
func (h *Hub) ServeEvents(conn net.Conn, addr netip.Addr, header http.Header, delta bool) {
	codec := wholeEvents
	if delta {
		codec = deltaEvents
	}
	h.serve(conn, addr, codec, &events{header})
}

// An events is the session of a client that gets events. Such a client sends nothing after its request.
type events struct{ header http.Header }

func (s *events) greeting() []byte {
	var head bytes.Buffer
	head.WriteString("HTTP/1.1 200 OK\r\n")
	s.header.Write(&head) //nolint:errcheck // writes to a buffer do not fail
	fmt.Fprintf(&head, "\r\nretry: %d\n\n", retryMilliseconds())
	s.header = nil
	return head.Bytes()
}

// rejection returns the HTTP error for a close code, in the form of all errors of an edge.
func (s *events) rejection(r reason) []byte {
	status := http.StatusServiceUnavailable
	header := s.header.Clone()
	header.Set("Content-Type", "application/json")
	header.Set("Retry-After", "1")
	if r == tooManyFromAddress {
		status = http.StatusTooManyRequests
		header.Set("Retry-After", "60")
	}
	body := fmt.Appendf(nil, `{"error":{"code":%d,"message":%q}}`, status, r.text)
	header.Set("Content-Length", fmt.Sprint(len(body)))
	var response bytes.Buffer
	fmt.Fprintf(&response, "HTTP/1.1 %d %s\r\n", status, http.StatusText(status))
	header.Write(&response) //nolint:errcheck // writes to a buffer do not fail
	response.WriteString("\r\n")
	response.Write(body)
	return response.Bytes()
}

// maxIgnored bounds the bytes that a client may send after its request. They are ignored: a few pipelined requests do
// no harm.
const maxIgnored = 4096

func (s *events) read(c *client) reason {
	n, err := io.CopyN(io.Discard, c.conn, maxIgnored)
	if n == maxIgnored {
		return tooManyMessages
	}
	return socketReason(err)
}

func (s *events) drain(c *client) {
	io.CopyN(io.Discard, c.conn, maxIgnored) //nolint:errcheck // the connection is closed either way
}
