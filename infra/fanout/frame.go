package fanout

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Opcodes of WebSocket frames (RFC 6455, 5.2).
const (
	opContinuation = 0x0
	opText         = 0x1
	opBinary       = 0x2
	opClose        = 0x8
	opPing         = 0x9
	opPong         = 0xA
)

const (
	fin         = 0x80 // first byte: the last frame of its message
	rsv1        = 0x40 // first byte: the message is deflated (RFC 7692)
	masked      = 0x80 // second byte
	length16    = 126  // second byte: the length is in the next two bytes
	length64    = 127  // second byte: the length is in the next eight
	maxHeader   = 10   // of a frame from a server, which has no mask
	maxControl  = 125  // payload of a control frame
	maxPayload  = 1 << 24
	closeNoCode = 1005 // what stands for a close frame without a code
)

// tailSize is how much of a message's end is kept. A snapshot's time stands within its last 200 bytes; a delta may have
// it anywhere, and has up to 1,400 bytes at mainnet's rate.
const tailSize = 4 << 10

// A parser follows the frames that a server sends on one connection. It holds no more of a message than its end, and
// can be told of bytes that were thrown away unread.
type parser struct {
	keep  int // most bytes of a message's end to hold; all of it for a connection that inflates
	tails *tails

	header  [maxHeader]byte
	held    int // bytes of the header that are there
	inFrame bool
	opcode  byte
	left    uint64 // payload bytes of the frame still to come

	inMessage bool // between the frames of a message
	deflated  bool
	size      uint64 // payload bytes of the message so far
	tail      []byte // the message's end so far

	control     [maxControl]byte
	controlSize int
}

// An event is what a parser has come to.
type event int

const (
	gotNothing event = iota
	gotMessage       // size, deflated and tail tell of it; done must be called
	gotControl       // opcode and payload tell of it
)

// next takes bytes from b, up to the end of a frame at most, and returns those that are left.
func (p *parser) next(b []byte) (rest []byte, got event, err error) {
	if !p.inFrame {
		if b, err = p.takeHeader(b); err != nil || !p.inFrame {
			return nil, gotNothing, err
		}
	}
	n := min(uint64(len(b)), p.left)
	p.takePayload(b[:n])
	if p.left > 0 {
		return nil, gotNothing, nil
	}
	return b[n:], p.endFrame(), nil
}

func (p *parser) takeHeader(b []byte) ([]byte, error) {
	for i, c := range b {
		p.header[p.held] = c
		p.held++
		if p.held >= 2 && p.held == headerSize(p.header[1]) {
			p.held = 0
			return b[i+1:], p.startFrame()
		}
	}
	return nil, nil
}

func headerSize(second byte) int {
	switch second &^ masked {
	case length16:
		return 4
	case length64:
		return maxHeader
	}
	return 2
}

var (
	errMasked       = errors.New("a masked frame from a server")
	errReserved     = errors.New("a frame with reserved bits")
	errBadControl   = errors.New("a control frame that is fragmented or over 125 bytes")
	errFragments    = errors.New("frames of two messages, mixed")
	errPayloadLarge = fmt.Errorf("a frame over %d bytes", maxPayload)
)

// startFrame takes in a header that is whole.
func (p *parser) startFrame() error {
	first, second := p.header[0], p.header[1]
	p.opcode = first & 0x0f
	switch left := second &^ masked; left {
	case length16:
		p.left = uint64(binary.BigEndian.Uint16(p.header[2:]))
	case length64:
		p.left = binary.BigEndian.Uint64(p.header[2:])
	default:
		p.left = uint64(left)
	}
	switch {
	case second&masked != 0:
		return errMasked
	case first&0x30 != 0:
		return errReserved
	case p.left > maxPayload:
		return errPayloadLarge
	}
	p.inFrame = true
	return p.startOpcode(first)
}

func (p *parser) startOpcode(first byte) error {
	switch p.opcode {
	case opClose, opPing, opPong:
		if first&fin == 0 || first&rsv1 != 0 || p.left > maxControl {
			return errBadControl
		}
		p.controlSize = 0
	case opContinuation:
		if !p.inMessage || first&rsv1 != 0 {
			return errFragments
		}
	case opText, opBinary:
		if p.inMessage {
			return errFragments
		}
		p.inMessage, p.deflated, p.size = true, first&rsv1 != 0, 0
	default:
		return fmt.Errorf("a frame of the unknown opcode %d", p.opcode)
	}
	return nil
}

func (p *parser) takePayload(b []byte) {
	p.left -= uint64(len(b))
	if p.opcode >= opClose {
		p.controlSize += copy(p.control[p.controlSize:], b)
		return
	}
	p.size += uint64(len(b))
	if p.tail == nil {
		p.tail = p.tails.get()
	}
	p.tail = appendTail(p.tail, b, p.keep)
}

// appendTail appends b and forgets what comes before the last keep bytes.
func appendTail(tail, b []byte, keep int) []byte {
	b = b[max(len(b)-keep, 0):]
	over := max(len(tail)+len(b)-keep, 0)
	return append(append(tail[:0], tail[over:]...), b...)
}

func (p *parser) endFrame() event {
	p.inFrame = false
	if p.opcode >= opClose {
		return gotControl
	}
	if p.header[0]&fin == 0 {
		return gotNothing
	}
	p.inMessage = false
	return gotMessage
}

// payload is a control frame's.
func (p *parser) payload() []byte { return p.control[:p.controlSize] }

// done gives back what a message took.
func (p *parser) done() {
	p.tails.put(p.tail)
	p.tail = nil
}

// skippable is how many of the next bytes may be thrown away unread, by skip.
func (p *parser) skippable() uint64 {
	last := p.inFrame && p.opcode < opClose && p.header[0]&fin != 0
	if !last || p.left <= uint64(p.keep) {
		return 0
	}
	return p.left - uint64(p.keep)
}

// skip tells of n bytes, at most skippable, that nobody will see.
func (p *parser) skip(n uint64) {
	p.left -= n
	p.size += n
	p.tail = p.tail[:0]
}

// tails are buffers for the ends of messages that are on their way, so that a connection between two messages has none.
type tails struct{ free [][]byte }

func (t *tails) get() []byte {
	if n := len(t.free); n > 0 {
		tail := t.free[n-1]
		t.free = t.free[:n-1]
		return tail
	}
	return make([]byte, 0, tailSize)
}

func (t *tails) put(tail []byte) {
	if cap(tail) == tailSize {
		t.free = append(t.free, tail[:0])
	}
}

// appendControl appends a control frame, as a client sends it. Its mask is zero: that hides nothing, but the mask is
// there for proxies, and here are none.
func appendControl(dst []byte, opcode byte, payload []byte) []byte {
	dst = append(dst, fin|opcode, masked|byte(len(payload)), 0, 0, 0, 0)
	return append(dst, payload...)
}
