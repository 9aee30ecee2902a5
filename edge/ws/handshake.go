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

// A Handshake is a request that became a WebSocket: its headers, and what handlers before have noted in Locals. It is
// valid only until serve returns.
type Handshake = websocket.Conn

// Handler makes a request a WebSocket and hands it to serve, which owns the connection and should return soon: what the
// server and the library hold for a request, some 10 KB, is held until then. The subprotocol is agreed on if the client
// asks for it, permessage-deflate as NegotiateDeflate says. A request that is no handshake gets a fiber.Error that says
// what it lacks; the library would say 426 to all of them.
//
// The library decides on none of this: it finds offers of compression by a substring of the header, and reads the first
// line of a list alone. So its compression is off, and the headers that it sees can mean one thing only.
func Handler(subprotocol string, log *slog.Logger, serve func(*Handshake, *Conn)) fiber.Handler {
	upgrade := upgrade(subprotocol, log, serve)
	return func(c *fiber.Ctx) error {
		if err := check(c); err != nil {
			return err
		}
		answer := NegotiateDeflate(list(c, fiber.HeaderSecWebSocketExtensions))
		c.Locals(localDeflate, answer != "")
		setOnly(c, fiber.HeaderConnection, "Upgrade")
		setOnly(c, fiber.HeaderUpgrade, "websocket")
		setOnly(c, fiber.HeaderSecWebSocketProtocol, list(c, fiber.HeaderSecWebSocketProtocol))
		if err := upgrade(c); err != nil {
			return err
		}
		if answer != "" {
			c.Set(fiber.HeaderSecWebSocketExtensions, answer)
		}
		return nil
	}
}

// localDeflate is the name under which it goes on to the WebSocket whether permessage-deflate was agreed on.
const localDeflate = "ws.deflate"

// IsUpgrade reports whether a request asks for a WebSocket.
func IsUpgrade(c *fiber.Ctx) bool {
	return hasToken(list(c, fiber.HeaderConnection), "upgrade") && hasToken(list(c, fiber.HeaderUpgrade), "websocket")
}

// list is the value of a header that is a list: several lines are one (RFC 9110, section 5.3). If the last line of
// Connection is close, fasthttp gives that one alone, and closes the connection after its answer: that is no upgrade.
func list(c *fiber.Ctx, name string) string {
	return string(bytes.Join(c.Request().Header.PeekAll(name), []byte(", ")))
}

// setOnly makes a request's header have one line; none if the value is empty.
func setOnly(c *fiber.Ctx, name, value string) {
	header := &c.Request().Header
	if header.Del(name); value != "" {
		header.Set(name, value)
	}
}

// Version is the only version of the protocol that there is.
const Version = "13"

// check says what a handshake lacks (RFC 6455, section 4.2.1).
func check(c *fiber.Ctx) error {
	key, err := base64.StdEncoding.DecodeString(c.Get(fiber.HeaderSecWebSocketKey))
	switch {
	case !IsUpgrade(c):
		c.Set(fiber.HeaderUpgrade, "websocket")
		return fiber.NewError(fiber.StatusUpgradeRequired, "this path speaks WebSocket")
	case c.Get(fiber.HeaderSecWebSocketVersion) != Version:
		c.Set(fiber.HeaderSecWebSocketVersion, Version)
		return fiber.NewError(fiber.StatusUpgradeRequired, "want Sec-WebSocket-Version: "+Version)
	case err != nil || len(key) != 16:
		return fiber.NewError(fiber.StatusBadRequest, "Sec-WebSocket-Key: want 16 bytes in base64")
	case lines(c, fiber.HeaderSecWebSocketVersion) > 1 || lines(c, fiber.HeaderSecWebSocketKey) > 1:
		return fiber.NewError(fiber.StatusBadRequest, "want Sec-WebSocket-Key and Sec-WebSocket-Version once each")
	case !c.Request().Header.IsHTTP11(), c.Method() != fiber.MethodGet:
		return fiber.NewError(fiber.StatusBadRequest, "a WebSocket's handshake is a GET in HTTP/1.1")
	}
	return nil
}

func lines(c *fiber.Ctx, name string) int { return len(c.Request().Header.PeekAll(name)) }

// hasToken looks for a token in a header's list, whatever its case.
func hasToken(list, token string) bool {
	for t := range strings.SplitSeq(list, ",") {
		if strings.EqualFold(strings.TrimSpace(t), token) {
			return true
		}
	}
	return false
}

func upgrade(subprotocol string, log *slog.Logger, serve func(*Handshake, *Conn)) fiber.Handler {
	take := func(h *Handshake) {
		conn, err := Take(h.NetConn())
		if err != nil {
			log.Error("cannot take a connection over", "err", err)
			return
		}
		conn.Deflate, _ = h.Locals(localDeflate).(bool)
		if h.Subprotocol() == subprotocol { // its own bytes are gone with the request
			conn.Subprotocol = subprotocol
		}
		serve(h, conn)
	}
	return websocket.New(take, websocket.Config{
		Subprotocols:    []string{subprotocol},
		ReadBufferSize:  unused,
		WriteBufferSize: unused,
		RecoverHandler: func(*Handshake) { // the default sends the panic's text to the client
			if p := recover(); p != nil {
				log.Error("a handshake's handler panicked", "panic", p)
			}
		},
	})
}

// unused is the size of the buffers of the library's connection: it is gone before anything is read or written.
const unused = 256

// Take makes the connection of a finished handshake our own, or closes it. The server, which must have
// KeepHijackedConns, reuses its wrapper, and the buffer in which the client's first frames may already be, as soon as its
// handler returns; the connection inside belongs to nobody else. So the handler may return, and what the server and the
// library hold for a request, some 10 KB, is given back.
func Take(hijacked net.Conn) (*Conn, error) {
	inner, ok := hijacked.(interface{ UnsafeConn() net.Conn })
	if !ok {
		return nil, errors.Join(errors.New("the server does not give its connection away"), hijacked.Close())
	}
	c := &Conn{Conn: inner.UnsafeConn()}
	if err := c.takeEarly(hijacked); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// takeEarly takes what is in the server's buffer: with a deadline that has passed only that can be read.
func (c *Conn) takeEarly(hijacked net.Conn) error {
	if err := c.SetReadDeadline(time.Unix(1, 0)); err != nil {
		return err
	}
	var buffer [256]byte
	n, err := hijacked.Read(buffer[:])
	for ; err == nil; n, err = hijacked.Read(buffer[:]) {
		c.early = append(c.early, buffer[:n]...)
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	return c.SetReadDeadline(time.Time{})
}
