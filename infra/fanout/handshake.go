package fanout

import (
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// A Protocol is what a client asks for when it connects.
type Protocol struct {
	Name        string
	Subprotocol string // to be agreed on; empty: none
	Deflate     bool   // offer permessage-deflate, as browsers do
}

// Protocols are those that can be measured, by their names in settings.
var Protocols = map[string]Protocol{
	"plain":         {Name: "plain"},
	"deflate":       {Name: "deflate", Deflate: true},
	"delta":         {Name: "delta", Subprotocol: deltaProtocol},
	"delta-deflate": {Name: "delta-deflate", Subprotocol: deltaProtocol, Deflate: true},
}

const (
	deltaProtocol   = "sightglass.delta.v1"
	deflateOffer    = "permessage-deflate; client_max_window_bits" // what Chrome sends
	deflateAgreed   = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
	streamPath      = "/ws/mempool"
	headersEnd      = "\r\n\r\n"
	maxHandshake    = 8 << 10                                // bytes of a request or an answer
	handshakeKey    = "dGhlIHNhbXBsZSBub25jZQ=="             // RFC 6455's example: servers answer it, nobody checks that it is random
	handshakeSecret = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11" // RFC 6455, 1.3
)

// ErrNotOffered is the error of a server that accepts clients but not their protocol.
var ErrNotOffered = errors.New("not offered")

// request is a client's side of the handshake.
func (p Protocol) request(server netip.AddrPort) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n", streamPath, server, handshakeKey)
	if p.Subprotocol != "" {
		fmt.Fprintf(&b, "Sec-WebSocket-Protocol: %s\r\n", p.Subprotocol)
	}
	if p.Deflate {
		fmt.Fprintf(&b, "Sec-WebSocket-Extensions: %s\r\n", deflateOffer)
	}
	b.WriteString("\r\n")
	return []byte(b.String())
}

// check says what is wrong with a server's side of the handshake.
func (p Protocol) check(head string) error {
	status, _, _ := strings.Cut(head, "\r\n")
	switch {
	case !strings.HasPrefix(status, "HTTP/1.1 101 "):
		return fmt.Errorf("refused: %s", status)
	case header(head, "Sec-WebSocket-Accept") != acceptOf(handshakeKey):
		return errors.New("refused: a wrong Sec-WebSocket-Accept")
	case header(head, "Sec-WebSocket-Protocol") != p.Subprotocol:
		return ErrNotOffered
	case p.Deflate && !strings.HasPrefix(header(head, "Sec-WebSocket-Extensions"), "permessage-deflate"):
		return ErrNotOffered
	case p.Deflate && !strings.Contains(header(head, "Sec-WebSocket-Extensions"), "server_no_context_takeover"):
		return errors.New("the server deflates for each client: its messages cannot be told apart")
	}
	return nil
}

func acceptOf(key string) string {
	sum := sha1.Sum([]byte(key + handshakeSecret))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// header gives the value of a header, without case in its name.
func header(head, name string) string {
	for line := range strings.SplitSeq(head, "\r\n") {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.EqualFold(key, name) {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// answer is the floor's side of the handshake: it agrees to what it is asked for.
func answer(request string) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Accept: %s\r\n", acceptOf(header(request, "Sec-WebSocket-Key")))
	if protocol := header(request, "Sec-WebSocket-Protocol"); protocol != "" {
		fmt.Fprintf(&b, "Sec-WebSocket-Protocol: %s\r\n", protocol)
	}
	if header(request, "Sec-WebSocket-Extensions") != "" {
		fmt.Fprintf(&b, "Sec-WebSocket-Extensions: %s\r\n", deflateAgreed)
	}
	b.WriteString("\r\n")
	return []byte(b.String())
}
