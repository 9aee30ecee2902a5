package ws

import (
	"crypto/sha1" //nolint:gosec // RFC 6455 says so
	"encoding/base64"
	"errors"
	"net"
	"os"
	"strings"
	"time"

	"github.com/valyala/fasthttp"
)

// Version is the only version of the protocol that there is.
const Version = "13"

// What a handshake can lack. RFC 6455, section 4.2.1.
var (
	ErrNoUpgrade = errors.New("this path speaks WebSocket")                   // 426, with Upgrade: websocket
	ErrVersion   = errors.New("want Sec-WebSocket-Version: " + Version)       // 426, with Sec-WebSocket-Version: 13
	ErrKey       = errors.New("Sec-WebSocket-Key: want 16 bytes in base64")   // 400
	ErrMethod    = errors.New("a WebSocket's handshake is a GET in HTTP/1.1") // 400
)

// Upgrade answers a handshake and, when the answer has gone out, calls serve with the connection, which is then serve's
// to close. If it returns an error nothing was agreed and the caller answers. The subprotocol is agreed on if the
// client asks for it.
//
// serve should return soon, and may leave the connection to another goroutine: what the server holds for a request, some
// 8 KB, is held until then. The server must have KeepHijackedConns.
func Upgrade(ctx *fasthttp.RequestCtx, subprotocol string, serve func(*Conn)) error {
	h := &ctx.Request.Header
	if err := check(h); err != nil {
		return err
	}
	agreed := Conn{Deflate: offersDeflate(string(h.Peek("Sec-WebSocket-Extensions")))}
	if hasToken(string(h.Peek("Sec-WebSocket-Protocol")), subprotocol) {
		agreed.Subprotocol = subprotocol
	}
	answer(&ctx.Response.Header, &agreed, h.Peek("Sec-WebSocket-Key"))
	ctx.SetStatusCode(fasthttp.StatusSwitchingProtocols)
	ctx.Hijack(func(hijacked net.Conn) {
		conn := agreed
		if conn.take(hijacked) == nil {
			serve(&conn)
		}
	})
	return nil
}

func check(h *fasthttp.RequestHeader) error {
	key, err := base64.StdEncoding.DecodeString(string(h.Peek("Sec-WebSocket-Key")))
	switch {
	case !hasToken(string(h.Peek("Connection")), "upgrade"), !hasToken(string(h.Peek("Upgrade")), "websocket"):
		return ErrNoUpgrade
	case string(h.Peek("Sec-WebSocket-Version")) != Version:
		return ErrVersion
	case err != nil || len(key) != 16:
		return ErrKey
	case !h.IsGet() || !h.IsHTTP11():
		return ErrMethod
	}
	return nil
}

func answer(h *fasthttp.ResponseHeader, agreed *Conn, key []byte) {
	h.Set("Upgrade", "websocket")
	h.Set("Connection", "Upgrade")
	h.Set("Sec-WebSocket-Accept", accept(key))
	if agreed.Subprotocol != "" {
		h.Set("Sec-WebSocket-Protocol", agreed.Subprotocol)
	}
	if agreed.Deflate {
		h.Set("Sec-WebSocket-Extensions", "permessage-deflate; server_no_context_takeover; client_no_context_takeover")
	}
}

func accept(key []byte) string {
	sum := sha1.Sum(append(key[:len(key):len(key)], "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"...)) //nolint:gosec // as above
	return base64.StdEncoding.EncodeToString(sum[:])
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

// offersDeflate reports whether one of the offers is permessage-deflate as we do it: we always deflate with a window of
// 32 KiB and so must turn down who asks for a smaller one; the client's own window may be any.
func offersDeflate(offers string) bool {
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

// take makes the server's connection our own. The server reuses its wrapper, and the buffer in which the client's first
// frames may already be, as soon as its handler returns; the connection inside belongs to nobody else.
func (c *Conn) take(hijacked net.Conn) error {
	inner, ok := hijacked.(interface{ UnsafeConn() net.Conn })
	if !ok {
		hijacked.Close()
		return errors.New("the server does not give its connection away")
	}
	c.Conn = inner.UnsafeConn()
	err := c.takeEarly(hijacked)
	if err != nil {
		c.Close()
	}
	return err
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
