package ws

import (
	"bufio"
	"encoding/binary"
	"io"
	"unicode/utf8"
)

// The bits of a frame's first two bytes, and the lengths that say that the length follows. RFC 6455, section 5.2.
const (
	fin      = 0x80
	rsv1     = 0x40 // the message is deflated
	rsv23    = 0x30
	opcodes  = 0x0F
	masked   = 0x80
	lengths  = 0x7F
	length16 = 126
	length64 = 127

	// MaxControl is the most bytes that a control frame's payload may have.
	MaxControl = 125
)

// AppendFrame appends a whole message of the server's, in one frame.
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

// AppendClose appends a close frame. The code CloseNoCode makes an empty one; a text that does not fit is cut.
func AppendClose(dst []byte, code int, text string) []byte {
	if code == CloseNoCode {
		return AppendFrame(dst, Close, false, nil)
	}
	payload := binary.BigEndian.AppendUint16(make([]byte, 0, MaxControl), uint16(code))
	return AppendFrame(dst, Close, false, append(payload, text[:min(len(text), MaxControl-2)]...))
}

// CloseCode reads a close frame's payload; CloseNoCode if it is empty.
func CloseCode(payload []byte) (int, error) {
	if len(payload) == 0 {
		return CloseNoCode, nil
	}
	if len(payload) == 1 {
		return 0, protocolError("half a close code")
	}
	code := int(binary.BigEndian.Uint16(payload))
	if !mayClose(code) {
		return 0, protocolError("a close code that may not be sent")
	}
	if !utf8.Valid(payload[2:]) {
		return 0, &Error{CloseNotUTF8, "text that is not UTF-8"}
	}
	return code, nil
}

// mayClose reports whether an endpoint may send the code: the ones that are registered with IANA and not reserved for
// local use, and those for libraries and applications. RFC 6455, section 7.4.
func mayClose(code int) bool {
	switch {
	case code >= 1000 && code <= 1003, code >= 1007 && code <= 1014, code >= 3000 && code <= 4999:
		return true
	}
	return false
}

// A header is what stands before a client's payload.
type header struct {
	opcode   byte
	fin      bool
	deflated bool
	length   uint64
	mask     [4]byte
}

func (h *header) control() bool { return h.opcode >= Close }

// readHeader reads a client's header and checks what can be told from it alone.
func readHeader(r *bufio.Reader, mayDeflate bool) (h header, err error) {
	var first [2]byte
	if _, err := io.ReadFull(r, first[:]); err != nil {
		return h, err
	}
	h.fin, h.deflated, h.opcode = first[0]&fin != 0, first[0]&rsv1 != 0, first[0]&opcodes
	h.length = uint64(first[1] & lengths)
	if err := h.check(first, mayDeflate); err != nil {
		return h, err
	}
	if err := h.readLength(r); err != nil {
		return h, err
	}
	_, err = io.ReadFull(r, h.mask[:])
	return h, err
}

func (h *header) check(first [2]byte, mayDeflate bool) error {
	switch {
	case first[0]&rsv23 != 0:
		return protocolError("a reserved bit")
	case h.opcode > Binary && h.opcode < Close || h.opcode > Pong:
		return protocolError("an unknown opcode")
	case first[1]&masked == 0:
		return protocolError("a frame without a mask")
	case h.deflated && (!mayDeflate || h.control() || h.opcode == Continuation):
		return protocolError("the bit of a deflated message where there is none")
	case h.control() && !h.fin:
		return protocolError("a control frame in fragments")
	case h.control() && h.length > MaxControl:
		return protocolError("a control frame over 125 bytes")
	}
	return nil
}

func (h *header) readLength(r *bufio.Reader) error {
	var long [8]byte
	var size int
	var least uint64
	switch h.length {
	case length16:
		size, least = 2, length16
	case length64:
		size, least = 8, 1<<16
	default:
		return nil
	}
	if _, err := io.ReadFull(r, long[8-size:]); err != nil {
		return err
	}
	h.length = binary.BigEndian.Uint64(long[:])
	if h.length < least || h.length > 1<<63-1 {
		return protocolError("a length in the wrong form")
	}
	return nil
}

// unmask takes the client's mask off a payload.
func (h *header) unmask(payload []byte) {
	for i := range payload {
		payload[i] ^= h.mask[i%len(h.mask)]
	}
}
