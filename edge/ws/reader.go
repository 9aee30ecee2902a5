package ws

import (
	"bufio"
	"io"
	"unicode/utf8"
)

// bufferSize is the size of a Reader's buffer in bytes: a client's ping with its header fits. Every client has one.
const bufferSize = 96

// A Reader reads a client's frames and enforces the RFC. It writes nothing: responses are up to its caller.
type Reader struct {
	in      *bufio.Reader
	deflate bool
	maxSize int // of a message in bytes, also when inflated

	opcode   byte   // of the fragmented message that is being read; Continuation if none
	deflated bool   // the fragmented message is
	message  []byte // its fragments
}

// NewReader returns a Reader of messages of at most maxSize bytes from conn.
func NewReader(conn *Conn, maxSize int) *Reader {
	return &Reader{in: bufio.NewReaderSize(conn, bufferSize), deflate: conn.Deflate, maxSize: maxSize}
}

// Next reads the next frame. It returns a message with its last frame, and each control frame in between, with the opcode.
// For a fragment before the last one it returns Continuation and no payload, so that the caller can count frames. The
// caller owns the payload.
//
// An *Error says how the client violated the protocol. After any error the Reader cannot be used.
func (r *Reader) Next() (opcode byte, payload []byte, err error) {
	h, err := readHeader(r.in, r.deflate)
	if err != nil {
		return 0, nil, err
	}
	if h.control() {
		payload, err = r.payload(&h)
		return h.opcode, payload, err
	}
	return r.data(&h)
}

// data handles a frame of a message.
func (r *Reader) data(h *header) (byte, []byte, error) {
	if err := r.checkFragment(h); err != nil {
		return 0, nil, err
	}
	payload, err := r.payload(h)
	if err != nil {
		return 0, nil, err
	}
	if r.message = append(r.message, payload...); !h.fin {
		return Continuation, nil, nil
	}
	opcode, message := r.opcode, r.message
	r.opcode, r.message = Continuation, nil
	if r.deflated {
		if message, err = inflate(message, r.maxSize); err != nil {
			return 0, nil, err
		}
	}
	if opcode == Text && !utf8.Valid(message) {
		return 0, nil, &Error{CloseNotUTF8, "text is not UTF-8"}
	}
	return opcode, message, nil
}

// checkFragment checks that the frame is allowed at this point and that its message does not become too large. It
// records the opcode of a new message.
func (r *Reader) checkFragment(h *header) error {
	switch reading := r.opcode != Continuation; {
	case h.opcode == Continuation && !reading:
		return protocolError("continuation without a message")
	case h.opcode != Continuation && reading:
		return protocolError("new message before the end of the previous one")
	case h.opcode != Continuation:
		r.opcode, r.deflated = h.opcode, h.deflated
	}
	if h.length > uint64(r.maxSize-len(r.message)) {
		return errTooLarge
	}
	return nil
}

var errTooLarge = &Error{CloseTooLarge, "message too large"}

// payload reads and unmasks a frame's payload, whose length was checked.
func (r *Reader) payload(h *header) ([]byte, error) {
	if h.length == 0 {
		return nil, nil
	}
	payload := make([]byte, h.length)
	_, err := io.ReadFull(r.in, payload)
	for i := range payload {
		payload[i] ^= h.mask[i%len(h.mask)]
	}
	return payload, err
}
