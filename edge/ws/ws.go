// Package ws implements the server's side of WebSocket (RFC 6455, with permessage-deflate, RFC 7692) as far as an edge needs
// it: small messages from clients, and frames that are built once for all clients.
//
// The handshake is the library's (gofiber/contrib/websocket). Its connection does not suit ten thousand clients that get the
// same bytes: it locks and copies for each message, has buffers for each client, responds to pings and errors in the middle
// of what we write, and accepts any number of control frames within a message. Here a Reader only reads, and frames are
// bytes that the hub writes.
package ws

import (
	"net"
	"strconv"
)

// The opcodes of frames.
const (
	Continuation byte = 0x0
	Text         byte = 0x1
	Binary       byte = 0x2
	Close        byte = 0x8
	Ping         byte = 0x9
	Pong         byte = 0xA
)

// The close codes of RFC 6455 that an edge uses.
const (
	CloseNormal      = 1000
	CloseGoingAway   = 1001
	CloseProtocol    = 1002
	CloseUnsupported = 1003
	CloseNoCode      = 1005 // a close frame without a code; never sent
	CloseNotUTF8     = 1007
	ClosePolicy      = 1008
	CloseTooLarge    = 1009
)

// An Error is a client's violation of the protocol.
type Error struct {
	Code int    // of the close frame
	Text string // of the close frame
}

func (e *Error) Error() string { return "websocket: " + e.Text + " (" + strconv.Itoa(e.Code) + ")" }

func protocolError(text string) error { return &Error{CloseProtocol, text} }

// A Conn is a connection after its handshake, with what was negotiated. Read returns all bytes after the handshake.
type Conn struct {
	net.Conn
	Subprotocol string // the negotiated one; "" if none
	Deflate     bool   // permessage-deflate, without context takeover in both directions
	buffered    []byte // what the server had read beyond the handshake
}

// Read implements net.Conn.
func (c *Conn) Read(p []byte) (int, error) {
	if len(c.buffered) == 0 {
		return c.Conn.Read(p)
	}
	n := copy(p, c.buffered)
	c.buffered = c.buffered[n:]
	if len(c.buffered) == 0 {
		c.buffered = nil
	}
	return n, nil
}
