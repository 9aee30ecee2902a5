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

// Server-sent events (WHATWG HTML, section 9.2): a response that goes on, read by EventSource in browsers and by curl -N.

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

// event is an event with an id that names the snapshot.
func (f *frame) event(name string, data []byte) []byte {
	if bytes.ContainsAny(data, "\r\n") { // white space between JSON's tokens would end the line
		var compact bytes.Buffer
		if err := json.Compact(&compact, data); err != nil {
			panic(err) // it was decoded
		}
		data = compact.Bytes()
	}
	return fmt.Appendf(make([]byte, 0, 64+len(data)), "event: %s\nid: %s-%d\ndata: %s\n\n", name, f.Snapshot.Epoch, f.Snapshot.Seq, data)
}

// closingEvent says why the stream ends, with a close code, and how long EventSource should wait before it reconnects:
// each client another time, so that those of an edge that stops do not all come at once.
func closingEvent(r reason) []byte {
	return fmt.Appendf(nil, "event: close\nretry: %d\ndata: {\"code\":%d,\"reason\":%q}\n\n", retryMilliseconds(), r.code, r.text)
}

// retryMilliseconds is 1 to 5 s: an edge is replaced within seconds, and the first price after a connection is at once.
func retryMilliseconds() int { return 1000 + rand.IntN(4000) }

// ServeEvents takes over the connection of a request for events, with the address that it counts for, and returns. The
// header is that of the response, without Content-Length: the stream ends with the connection. Rejections are HTTP
// errors. The hub closes the connection.
func (h *Hub) ServeEvents(conn net.Conn, addr netip.Addr, header http.Header, delta bool) {
	codec := wholeEvents
	if delta {
		codec = deltaEvents
	}
	h.serve(conn, addr, codec, &events{header})
}

// An events is the inbound half of a connection that gets events: there is nothing to say after the request.
type events struct{ header http.Header }

func (s *events) greeting() []byte {
	var head bytes.Buffer
	head.WriteString("HTTP/1.1 200 OK\r\n")
	s.header.Write(&head) //nolint:errcheck // a buffer takes everything
	fmt.Fprintf(&head, "\r\nretry: %d\n\n", retryMilliseconds())
	s.header = nil
	return head.Bytes()
}

// rejection is the HTTP error that the close code stands for, in the shape of all errors of an edge.
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
	header.Write(&response) //nolint:errcheck // a buffer takes everything
	response.WriteString("\r\n")
	response.Write(body)
	return response.Bytes()
}

// maxIgnored is the most bytes that a client may send after its request. It has nothing to say, but one that pipelines
// requests does no harm as long as they are few.
const maxIgnored = 4096

func (s *events) read(c *client) reason {
	n, err := io.CopyN(io.Discard, c.conn, maxIgnored)
	if n == maxIgnored {
		return tooManyMessages
	}
	return socketReason(err)
}

func (s *events) drain(c *client) {
	io.CopyN(io.Discard, c.conn, maxIgnored) //nolint:errcheck // it is over either way
}
