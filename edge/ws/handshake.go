package ws

import (
	"bytes"
	"encoding/base64"
	"errors"
	"log/slog"
	"net"
	"os"
	"strings"
	"time"

	"github.com/gofiber/contrib/websocket"
	"github.com/gofiber/fiber/v2"
)

// A Handshake is a request that was upgraded, with its headers and Locals. It is valid only until serve returns.
type Handshake = websocket.Conn

// Handler upgrades a request to a WebSocket and calls serve, which owns the connection and should return soon: about 10
// KB of the server's and the library's memory for the request are free only then. It negotiates the subprotocol if the
// client offers it, and permessage-deflate by NegotiateDeflate. A request that is not a valid handshake gets a
// fiber.Error that says why; the library would respond to all of them with 426.
//
// The library negotiates nothing: it detects offers of compression by a substring of the header, and reads only the first
// line of a list. So its compression is off, and it gets headers that are unambiguous.
func Handler(subprotocol string, log *slog.Logger, serve func(*Handshake, *Conn)) fiber.Handler {
	upgrade := upgrade(subprotocol, log, serve)
	return func(c *fiber.Ctx) error {
		if err := check(c); err != nil {
			return err
		}
		extensions := NegotiateDeflate(list(c, fiber.HeaderSecWebSocketExtensions))
		c.Locals(localDeflate, extensions != "")
		setOnly(c, fiber.HeaderConnection, "Upgrade")
		setOnly(c, fiber.HeaderUpgrade, "websocket")
		setOnly(c, fiber.HeaderSecWebSocketProtocol, list(c, fiber.HeaderSecWebSocketProtocol))
		if err := upgrade(c); err != nil {
			return err
		}
		if extensions != "" {
			c.Set(fiber.HeaderSecWebSocketExtensions, extensions)
		}
		return nil
	}
}

// localDeflate is the key in Locals for whether permessage-deflate was negotiated.
const localDeflate = "ws.deflate"

// IsUpgrade reports whether a request asks for a WebSocket.
func IsUpgrade(c *fiber.Ctx) bool {
	return hasToken(list(c, fiber.HeaderConnection), "upgrade") && hasToken(list(c, fiber.HeaderUpgrade), "websocket")
}

// list returns the value of a header that is a list, its lines joined (RFC 9110, section 5.3). If the last line of Connection
// is close, fasthttp returns only that line and closes the connection after the response: that is no upgrade.
func list(c *fiber.Ctx, name string) string {
	return string(bytes.Join(c.Request().Header.PeekAll(name), []byte(", ")))
}

// setOnly replaces a request's header by one line, or removes it if the value is empty.
func setOnly(c *fiber.Ctx, name, value string) {
	header := &c.Request().Header
	if header.Del(name); value != "" {
		header.Set(name, value)
	}
}

// Version is the only version of the protocol.
const Version = "13"

// check returns an error for a request that is not a valid handshake (RFC 6455, section 4.2.1).
func check(c *fiber.Ctx) error {
	key, err := base64.StdEncoding.DecodeString(c.Get(fiber.HeaderSecWebSocketKey))
	switch {
	case !IsUpgrade(c):
		c.Set(fiber.HeaderUpgrade, "websocket")
		return fiber.NewError(fiber.StatusUpgradeRequired, "this path requires a WebSocket handshake")
	case c.Get(fiber.HeaderSecWebSocketVersion) != Version:
		c.Set(fiber.HeaderSecWebSocketVersion, Version)
		return fiber.NewError(fiber.StatusUpgradeRequired, "want Sec-WebSocket-Version: "+Version)
	case err != nil || len(key) != 16:
		return fiber.NewError(fiber.StatusBadRequest, "Sec-WebSocket-Key: want 16 bytes in base64")
	case lines(c, fiber.HeaderSecWebSocketVersion) > 1 || lines(c, fiber.HeaderSecWebSocketKey) > 1:
		return fiber.NewError(fiber.StatusBadRequest, "want Sec-WebSocket-Key and Sec-WebSocket-Version once each")
	case !c.Request().Header.IsHTTP11(), c.Method() != fiber.MethodGet:
		return fiber.NewError(fiber.StatusBadRequest, "want GET and HTTP/1.1")
	}
	return nil
}

func lines(c *fiber.Ctx, name string) int { return len(c.Request().Header.PeekAll(name)) }

// hasToken reports whether a header's list has the token, in any case.
func hasToken(list, token string) bool {
	for t := range strings.SplitSeq(list, ",") {
		if strings.EqualFold(strings.TrimSpace(t), token) {
			return true
		}
	}
	return false
}

func upgrade(subprotocol string, log *slog.Logger, serve func(*Handshake, *Conn)) fiber.Handler {
	detach := func(h *Handshake) {
		conn, err := Detach(h.NetConn())
		if err != nil {
			log.Error("cannot detach a connection", "err", err)
			return
		}
		conn.Deflate, _ = h.Locals(localDeflate).(bool)
		if h.Subprotocol() == subprotocol { // h's string is valid only as long as the request
			conn.Subprotocol = subprotocol
		}
		serve(h, conn)
	}
	return websocket.New(detach, websocket.Config{
		Subprotocols:    []string{subprotocol},
		ReadBufferSize:  minBuffer,
		WriteBufferSize: minBuffer,
		RecoverHandler: func(*Handshake) { // the default sends the panic's text to the client
			if p := recover(); p != nil {
				log.Error("a handshake handler panicked", "panic", p)
			}
		},
	})
}

// minBuffer is the size in bytes of the buffers of the library's connection, which are never used.
const minBuffer = 256

// Detach returns the connection inside a hijacked one, or closes it on error. The server, which must have KeepHijackedConns,
// reuses its wrapper and its read buffer, which may contain the client's first frames, when the handler returns. The
// connection inside is not reused. So the handler can return, which frees about 10 KB of memory for the request.
func Detach(hijacked net.Conn) (*Conn, error) {
	inner, ok := hijacked.(interface{ UnsafeConn() net.Conn })
	if !ok {
		return nil, errors.Join(errors.New("the server's wrapper does not expose its connection"), hijacked.Close())
	}
	c := &Conn{Conn: inner.UnsafeConn()}
	if err := c.readBuffered(hijacked); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// readBuffered reads the server's read buffer: with a deadline in the past nothing else can be read.
func (c *Conn) readBuffered(hijacked net.Conn) error {
	if err := c.SetReadDeadline(time.Unix(1, 0)); err != nil {
		return err
	}
	var buffer [256]byte
	n, err := hijacked.Read(buffer[:])
	for ; err == nil; n, err = hijacked.Read(buffer[:]) {
		c.buffered = append(c.buffered, buffer[:n]...)
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	return c.SetReadDeadline(time.Time{})
}
