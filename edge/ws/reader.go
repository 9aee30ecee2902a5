package ws

import (
	"bufio"
	"io"
	"unicode/utf8"
)

// readAhead is the Reader's buffer in bytes: a client's ping with its header fits, and every client holds one.
const readAhead = 96

// A Reader reads a client's frames and holds it to the RFC. It answers nothing: that is its caller's.
type Reader struct {
	in      *bufio.Reader
	deflate bool
	most    int // bytes of a message, also when inflated

	opcode   byte   // of the message that is being read in fragments; Continuation if none
	deflated bool   // that message
	message  []byte // its fragments
}

// NewReader reads messages of at most so many bytes from conn.
func NewReader(conn *Conn, most int) *Reader {
	return &Reader{in: bufio.NewReaderSize(conn, readAhead), deflate: conn.Deflate, most: most}
}

// Next reads the next frame. It gives a message when its last frame came, and control frames between them, each with
// its opcode. A frame that ends nothing is a Continuation without payload, so that the caller can count it. The payload
// is the caller's.
//
// An *Error tells what the client did wrong. After any error the Reader is of no more use.
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

// data takes a frame of a message.
func (r *Reader) data(h *header) (byte, []byte, error) {
	if err := r.begin(h); err != nil {
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
		if message, err = inflate(message, r.most); err != nil {
			return 0, nil, err
		}
	}
	if opcode == Text && !utf8.Valid(message) {
		return 0, nil, &Error{CloseNotUTF8, "text that is not UTF-8"}
	}
	return opcode, message, nil
}

// begin checks that the frame may come now, and that its message does not become too large.
func (r *Reader) begin(h *header) error {
	switch reading := r.opcode != Continuation; {
	case h.opcode == Continuation && !reading:
		return protocolError("a continuation of nothing")
	case h.opcode != Continuation && reading:
		return protocolError("a new message before the last one's end")
	case h.opcode != Continuation:
		r.opcode, r.deflated = h.opcode, h.deflated
	}
	if h.length > uint64(r.most-len(r.message)) {
		return errTooLarge
	}
	return nil
}

var errTooLarge = &Error{CloseTooLarge, "message too large"}

// payload reads a frame's payload, which is known to be small.
func (r *Reader) payload(h *header) ([]byte, error) {
	if h.length == 0 {
		return nil, nil
	}
	payload := make([]byte, h.length)
	_, err := io.ReadFull(r.in, payload)
	h.unmask(payload)
	return payload, err
}
