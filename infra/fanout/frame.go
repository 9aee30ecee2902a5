package fanout

import (
	"encoding/binary"
	"errors"
	"fmt"

	"sightglass/edge/ws"
)

// WebSocket frame headers (RFC 6455, 5.2).
const (
	fin        = 0x80 // first byte: the last frame of its message
	rsv1       = 0x40 // first byte: the message is deflated (RFC 7692)
	rsv23      = 0x30 // first byte
	opcodeBits = 0x0f // first byte
	masked     = 0x80 // second byte
	length16   = 126  // second byte: the length is in the next two bytes
	length64   = 127  // second byte: the length is in the next eight bytes
	maxHeader  = 10   // bytes of a server's frame header, which has no mask
)

const (
	// maxPayload is the maximum payload of a frame in bytes.
	maxPayload = 1 << 24
	// tailSize is the number of bytes kept from the end of a message. A snapshot's timestamp is in its last 200 bytes; that
	// of a delta may be anywhere in up to 1,400 bytes, at mainnet's rate.
	tailSize = 4 << 10
)

// A parser parses the frames that a server sends on one connection. It keeps only the end of a message, and accepts that
// bytes were discarded unread.
type parser struct {
	maxTail int // maximum bytes kept of a message; maxPayload on a connection that inflates messages
	tails   *tailPool

	header       [maxHeader]byte
	headerLength int // bytes of the header so far
	inFrame      bool
	opcode       byte
	left         uint64 // remaining payload bytes of the frame

	inMessage bool // a message has started and its last frame has not ended
	deflated  bool
	size      uint64 // payload bytes of the message so far
	tail      []byte // last payload bytes of the message so far

	control     [ws.MaxControl]byte
	controlSize int
}

// An event is the result of parser.next.
type event int

const (
	incomplete event = iota
	messageEnd       // size, deflated and tail describe the message; release must be called
	controlEnd       // opcode and payload describe the control frame
)

// next parses b up to the end of a frame and returns the remaining bytes. An error means that the server violates the
// protocol.
func (p *parser) next(b []byte) (rest []byte, parsed event, err error) {
	if !p.inFrame {
		if b, err = p.readHeader(b); err != nil || !p.inFrame {
			return nil, incomplete, err
		}
	}
	n := min(uint64(len(b)), p.left)
	p.readPayload(b[:n])
	if p.left > 0 {
		return nil, incomplete, nil
	}
	return b[n:], p.endFrame(), nil
}

// readHeader reads a frame header, which may arrive in parts, and returns the bytes after it.
func (p *parser) readHeader(b []byte) ([]byte, error) {
	for i, c := range b {
		p.header[p.headerLength] = c
		p.headerLength++
		if p.headerLength >= 2 && p.headerLength == headerSize(p.header[1]) {
			p.headerLength = 0
			return b[i+1:], p.startFrame()
		}
	}
	return nil, nil
}

// headerSize returns the size of a frame header in bytes, from its second byte.
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
	errMasked          = errors.New("masked frame from the server")
	errReservedBits    = errors.New("frame with reserved bits")
	errInvalidControl  = errors.New("control frame that is fragmented, deflated or over 125 bytes")
	errFragmentOrder   = errors.New("fragments of messages out of order")
	errPayloadTooLarge = fmt.Errorf("frame over %d bytes", maxPayload)
)

// startFrame decodes and checks a complete header.
func (p *parser) startFrame() error {
	first, second := p.header[0], p.header[1]
	p.opcode = first & opcodeBits
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
	case first&rsv23 != 0:
		return errReservedBits
	case p.left > maxPayload:
		return errPayloadTooLarge
	}
	p.inFrame = true
	return p.startOpcode(first)
}

// startOpcode checks that a frame of this opcode may start now.
func (p *parser) startOpcode(first byte) error {
	switch p.opcode {
	case ws.Close, ws.Ping, ws.Pong:
		if first&fin == 0 || first&rsv1 != 0 || p.left > ws.MaxControl {
			return errInvalidControl
		}
		p.controlSize = 0
	case ws.Continuation:
		if !p.inMessage || first&rsv1 != 0 {
			return errFragmentOrder
		}
	case ws.Text, ws.Binary:
		if p.inMessage {
			return errFragmentOrder
		}
		p.inMessage, p.deflated, p.size = true, first&rsv1 != 0, 0
	default:
		return fmt.Errorf("frame with the unknown opcode %d", p.opcode)
	}
	return nil
}

func (p *parser) readPayload(b []byte) {
	p.left -= uint64(len(b))
	if p.opcode >= ws.Close {
		p.controlSize += copy(p.control[p.controlSize:], b)
		return
	}
	p.size += uint64(len(b))
	if p.tail == nil {
		p.tail = p.tails.get()
	}
	p.tail = appendTail(p.tail, b, p.maxTail)
}

// appendTail appends b and removes all but the last limit bytes.
func appendTail(tail, b []byte, limit int) []byte {
	b = b[max(len(b)-limit, 0):]
	excess := max(len(tail)+len(b)-limit, 0)
	return append(append(tail[:0], tail[excess:]...), b...)
}

func (p *parser) endFrame() event {
	p.inFrame = false
	if p.opcode >= ws.Close {
		return controlEnd
	}
	if p.header[0]&fin == 0 {
		return incomplete
	}
	p.inMessage = false
	return messageEnd
}

// payload returns the payload of the control frame that ended last.
func (p *parser) payload() []byte { return p.control[:p.controlSize] }

// release returns the buffer of the message to the pool.
func (p *parser) release() {
	p.tails.put(p.tail)
	p.tail = nil
}

// skippable returns how many of the next bytes may be discarded, because the message's tail comes after them.
func (p *parser) skippable() uint64 {
	last := p.inFrame && p.opcode < ws.Close && p.header[0]&fin != 0
	if !last || p.left <= uint64(p.maxTail) {
		return 0
	}
	return p.left - uint64(p.maxTail)
}

// skip accounts for n discarded bytes, at most skippable.
func (p *parser) skip(n uint64) {
	p.left -= n
	p.size += n
	p.tail = p.tail[:0]
}

// A tailPool holds buffers for message tails, so that an idle connection has no buffer.
type tailPool struct{ free [][]byte }

func (t *tailPool) get() []byte {
	if n := len(t.free); n > 0 {
		tail := t.free[n-1]
		t.free = t.free[:n-1]
		return tail
	}
	return make([]byte, 0, tailSize)
}

func (t *tailPool) put(tail []byte) {
	if cap(tail) == tailSize {
		t.free = append(t.free, tail[:0])
	}
}

// appendControl appends a client's control frame. Its mask is zero: masking protects proxies, and there are none here.
func appendControl(dst []byte, opcode byte, payload []byte) []byte {
	dst = append(dst, fin|opcode, masked|byte(len(payload)), 0, 0, 0, 0)
	return append(dst, payload...)
}
