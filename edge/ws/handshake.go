package ws

import (
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
// asks for it, compression only in the way in which Deflate does it; the library alone would take any offer. A request
// that is no handshake gets a fiber.Error that says what it lacks; the library would say 426 to all of them.
func Handler(subprotocol string, log *slog.Logger, serve func(*Handshake, *Conn)) fiber.Handler {
	plain, deflated := upgrade(subprotocol, false, log, serve), upgrade(subprotocol, true, log, serve)
	return func(c *fiber.Ctx) error {
		if err := check(c); err != nil {
			return err
		}
		if OffersDeflate(c.Get(fiber.HeaderSecWebSocketExtensions)) {
			return deflated(c)
		}
		return plain(c)
	}
}

// Version is the only version of the protocol that there is.
const Version = "13"

// check says what a handshake lacks (RFC 6455, section 4.2.1).
func check(c *fiber.Ctx) error {
	key, err := base64.StdEncoding.DecodeString(c.Get(fiber.HeaderSecWebSocketKey))
	switch {
	case !hasToken(c.Get(fiber.HeaderConnection), "upgrade"), !hasToken(c.Get(fiber.HeaderUpgrade), "websocket"):
		c.Set(fiber.HeaderUpgrade, "websocket")
		return fiber.NewError(fiber.StatusUpgradeRequired, "this path speaks WebSocket")
	case c.Get(fiber.HeaderSecWebSocketVersion) != Version:
		c.Set(fiber.HeaderSecWebSocketVersion, Version)
		return fiber.NewError(fiber.StatusUpgradeRequired, "want Sec-WebSocket-Version: "+Version)
	case err != nil || len(key) != 16:
		return fiber.NewError(fiber.StatusBadRequest, "Sec-WebSocket-Key: want 16 bytes in base64")
	case !c.Request().Header.IsHTTP11():
		return fiber.NewError(fiber.StatusBadRequest, "a WebSocket's handshake is a GET in HTTP/1.1")
	}
	return nil
}

// hasToken looks for a token in a header's list, whatever its case.
func hasToken(list, token string) bool {
	for t := range strings.SplitSeq(list, ",") {
		if strings.EqualFold(strings.TrimSpace(t), token) {
			return true
		}
	}
	return false
}

func upgrade(subprotocol string, deflate bool, log *slog.Logger, serve func(*Handshake, *Conn)) fiber.Handler {
	take := func(h *Handshake) {
		conn, err := Take(h.NetConn())
		if err != nil {
			log.Error("cannot take a connection over", "err", err)
			return
		}
		conn.Deflate = deflate
		if h.Subprotocol() == subprotocol { // its own bytes are gone with the request
			conn.Subprotocol = subprotocol
		}
		serve(h, conn)
	}
	return websocket.New(take, websocket.Config{
		EnableCompression: deflate,
		Subprotocols:      []string{subprotocol},
		ReadBufferSize:    unused,
		WriteBufferSize:   unused,
		RecoverHandler: func(*Handshake) { // the default sends the panic's text to the client
			if p := recover(); p != nil {
				log.Error("a handshake's handler panicked", "panic", p)
			}
		},
	})
}

// unused is the size of the buffers of the library's connection: it is gone before anything is read or written.
const unused = 256

// OffersDeflate reports whether one of the offers in a Sec-WebSocket-Extensions header is permessage-deflate as we do it: we always deflate with a window of
// 32 KiB and so must turn down who asks for a smaller one; the client's own window may be any.
func OffersDeflate(offers string) bool {
	for offer := range strings.SplitSeq(offers, ",") {
		name, params, _ := strings.Cut(offer, ";")
		if strings.EqualFold(strings.TrimSpace(name), "permessage-deflate") && ours(params) {
			return true
		}
	}
	return false
}

func ours(params string) bool {
	if params == "" {
		return true
	}
	for param := range strings.SplitSeq(params, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(param), "=")
		switch strings.ToLower(strings.TrimSpace(name)) {
		case "server_no_context_takeover", "client_no_context_takeover", "client_max_window_bits":
		case "server_max_window_bits":
			if strings.Trim(strings.TrimSpace(value), `"`) != "15" {
				return false
			}
		default:
			return false
		}
	}
	return true
}

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
