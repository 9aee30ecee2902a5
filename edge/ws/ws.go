// Package ws is the server's side of a WebSocket (RFC 6455, with permessage-deflate, RFC 7692), as far as an edge needs
// it: small messages in, frames out that are built once for all.
//
// The handshake is the library's (gofiber/contrib/websocket). Its connection would do for one client, but not for ten
// thousand that get the same bytes: it locks and copies for each message, holds buffers for each client, answers pings and errors by itself in the middle of what
// we write, and takes any number of control frames for one message. Here reading is a Reader, which says what came and
// writes nothing, and writing is bytes, which the hub sends.
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
	CloseNoCode      = 1005 // stands for a close frame without a code; never on the wire
	CloseNotUTF8     = 1007
	ClosePolicy      = 1008
	CloseTooLarge    = 1009
)

// An Error is what a client did wrong.
type Error struct {
	Code int    // to close with
	Text string // to say
}

func (e *Error) Error() string { return "websocket: " + e.Text + " (" + strconv.Itoa(e.Code) + ")" }

func protocolError(text string) error { return &Error{CloseProtocol, text} }

// A Conn is a connection after its handshake, and what was agreed in it. Read gives the client's frames from the
// first on.
type Conn struct {
	net.Conn
	Subprotocol string // the one that was agreed on; "" if none
	Deflate     bool   // permessage-deflate, without context takeover in both directions
	early       []byte // came with the handshake
}

// Read reads as net.Conn does.
func (c *Conn) Read(p []byte) (int, error) {
	if len(c.early) == 0 {
		return c.Conn.Read(p)
	}
	n := copy(p, c.early)
	c.early = c.early[n:]
	if len(c.early) == 0 {
		c.early = nil
	}
	return n, nil
}
