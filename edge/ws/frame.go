package ws

import (
	"bufio"
	"encoding/binary"
	"io"
	"unicode/utf8"
)

// The bits of a frame's first two bytes, and the length values that announce an extended length. RFC 6455, section 5.2.
const (
	fin        = 0x80
	rsv1       = 0x40 // the message is deflated
	rsv23      = 0x30
	opcodeBits = 0x0F
	masked     = 0x80
	lengthBits = 0x7F
	length16   = 126
	length64   = 127

	// MaxControl is the maximum size of a control frame's payload in bytes.
	MaxControl = 125
)

// AppendFrame appends a server's message in one frame.
func AppendFrame(dst []byte, opcode byte, deflated bool, payload []byte) []byte {
	first := fin | opcode
	if deflated {
		first |= rsv1
	}
	switch n := len(payload); {
	case n < length16:
		dst = append(dst, first, byte(n))
	case n < 1<<16:
		dst = binary.BigEndian.AppendUint16(append(dst, first, length16), uint16(n))
	default:
		dst = binary.BigEndian.AppendUint64(append(dst, first, length64), uint64(n))
	}
	return append(dst, payload...)
}

// AppendClose appends a close frame. It is empty for CloseNoCode; a text that does not fit is truncated.
func AppendClose(dst []byte, code int, text string) []byte {
	if code == CloseNoCode {
		return AppendFrame(dst, Close, false, nil)
	}
	payload := binary.BigEndian.AppendUint16(make([]byte, 0, MaxControl), uint16(code))
	return AppendFrame(dst, Close, false, append(payload, text[:min(len(text), MaxControl-2)]...))
}

// CloseCode returns the code in a close frame's payload, CloseNoCode if it is empty.
func CloseCode(payload []byte) (int, error) {
	if len(payload) == 0 {
		return CloseNoCode, nil
	}
	if len(payload) == 1 {
		return 0, protocolError("truncated close code")
	}
	code := int(binary.BigEndian.Uint16(payload))
	switch { // those registered with IANA and not reserved for local use, and those for libraries and applications (section 7.4)
	case code >= 1000 && code <= 1003, code >= 1007 && code <= 1014, code >= 3000 && code <= 4999:
	default:
		return 0, protocolError("invalid close code")
	}
	if !utf8.Valid(payload[2:]) {
		return 0, &Error{CloseNotUTF8, "close reason is not UTF-8"}
	}
	return code, nil
}

// A header is the header of a client's frame.
type header struct {
	opcode   byte
	fin      bool
	deflated bool
	length   uint64
	mask     [4]byte
}

func (h *header) control() bool { return h.opcode >= Close }

// readHeader reads a client's header and validates it as far as that needs no context.
func readHeader(r *bufio.Reader, deflateAgreed bool) (h header, err error) {
	var first [2]byte
	if _, err := io.ReadFull(r, first[:]); err != nil {
		return h, err
	}
	h.fin, h.deflated, h.opcode = first[0]&fin != 0, first[0]&rsv1 != 0, first[0]&opcodeBits
	h.length = uint64(first[1] & lengthBits)
	if err := h.check(first, deflateAgreed); err != nil {
		return h, err
	}
	if err := h.readLength(r); err != nil {
		return h, err
	}
	_, err = io.ReadFull(r, h.mask[:])
	return h, err
}

func (h *header) check(first [2]byte, deflateAgreed bool) error {
	switch {
	case first[0]&rsv23 != 0:
		return protocolError("reserved bit set")
	case h.opcode > Binary && h.opcode < Close || h.opcode > Pong:
		return protocolError("unknown opcode")
	case first[1]&masked == 0:
		return protocolError("unmasked frame")
	case h.deflated && (!deflateAgreed || h.control() || h.opcode == Continuation):
		return protocolError("unexpected compression bit")
	case h.control() && !h.fin:
		return protocolError("fragmented control frame")
	case h.control() && h.length > MaxControl:
		return protocolError("control frame over 125 bytes")
	}
	return nil
}

func (h *header) readLength(r *bufio.Reader) error {
	var long [8]byte
	var size int
	var minLength uint64
	switch h.length {
	case length16:
		size, minLength = 2, length16
	case length64:
		size, minLength = 8, 1<<16
	default:
		return nil
	}
	if _, err := io.ReadFull(r, long[8-size:]); err != nil {
		return err
	}
	h.length = binary.BigEndian.Uint64(long[:])
	if h.length < minLength || h.length > 1<<63-1 {
		return protocolError("invalid length encoding")
	}
	return nil
}
