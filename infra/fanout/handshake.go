package fanout

import (
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"sightglass/edge/hub"
)

// A Protocol is what a client requests in its handshake.
type Protocol struct {
	Name        string
	Subprotocol string // requested subprotocol; empty: none
	Deflate     bool   // offer permessage-deflate, as browsers do
}

// Protocols are the protocols that can be measured, by name.
var Protocols = map[string]Protocol{
	"plain":         {Name: "plain"},
	"deflate":       {Name: "deflate", Deflate: true},
	"delta":         {Name: "delta", Subprotocol: hub.DeltaProtocol},
	"delta-deflate": {Name: "delta-deflate", Subprotocol: hub.DeltaProtocol, Deflate: true},
}

const (
	deflateOffer    = "permessage-deflate; client_max_window_bits" // what Chrome sends
	deflateResponse = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
	streamPath      = "/ws/mempool"
	headersEnd      = "\r\n\r\n"
	maxHandshake    = 8 << 10                                // bytes of a request or response
	handshakeKey    = "dGhlIHNhbXBsZSBub25jZQ=="             // RFC 6455's example; servers accept any key
	handshakeGUID   = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11" // RFC 6455, 1.3
)

// ErrNotOffered means that the server accepts clients but does not offer their protocol.
var ErrNotOffered = errors.New("protocol not offered")

// request returns the client's handshake request.
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

// checkResponse checks the server's handshake response. Its error is ErrNotOffered if the protocol was not negotiated.
func (p Protocol) checkResponse(response string) error {
	status, _, _ := strings.Cut(response, "\r\n")
	switch {
	case !strings.HasPrefix(status, "HTTP/1.1 101 "):
		return fmt.Errorf("handshake rejected: %s", status)
	case header(response, "Sec-WebSocket-Accept") != acceptOf(handshakeKey):
		return errors.New("handshake response with a wrong Sec-WebSocket-Accept")
	case header(response, "Sec-WebSocket-Protocol") != p.Subprotocol:
		return ErrNotOffered
	case p.Deflate && !strings.HasPrefix(header(response, "Sec-WebSocket-Extensions"), "permessage-deflate"):
		return ErrNotOffered
	case p.Deflate && !strings.Contains(header(response, "Sec-WebSocket-Extensions"), "server_no_context_takeover"):
		return errors.New("the server compresses with context takeover: messages differ between clients and cannot be identified")
	}
	return nil
}

// acceptOf returns the value of Sec-WebSocket-Accept for a key.
func acceptOf(key string) string {
	sum := sha1.Sum([]byte(key + handshakeGUID))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// header returns the value of a header, or "". Case in its name does not matter.
func header(headers, name string) string {
	for line := range strings.SplitSeq(headers, "\r\n") {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.EqualFold(key, name) {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// acceptResponse returns the floor's handshake response, which accepts everything that the client requests.
func acceptResponse(request string) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Accept: %s\r\n", acceptOf(header(request, "Sec-WebSocket-Key")))
	if protocol := header(request, "Sec-WebSocket-Protocol"); protocol != "" {
		fmt.Fprintf(&b, "Sec-WebSocket-Protocol: %s\r\n", protocol)
	}
	if header(request, "Sec-WebSocket-Extensions") != "" {
		fmt.Fprintf(&b, "Sec-WebSocket-Extensions: %s\r\n", deflateResponse)
	}
	b.WriteString("\r\n")
	return []byte(b.String())
}
