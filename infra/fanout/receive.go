package fanout

import (
	"errors"
	"io"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// firstRead is enough for a delta whole; of a large message it shows the header, and the rest can be discarded.
	firstRead = 4 << 10
	// worthSkipping is how much must be left of a message for another system call to cost less than copying it.
	worthSkipping = 8 << 10
	// mostNamers is how many clients can name a deflated message: one that is slow skips some that others get.
	mostNamers = 16
)

// read takes what a client's socket has.
func (g *Generator) read(c *client) {
	for g.clients[c.fd] == c && c.state != stalled {
		skip := c.parser.skippable()
		discard := skip >= worthSkipping
		size := min(uint64(len(g.buf)), max(c.parser.left, firstRead))
		if discard {
			size = skip
		}
		n, err := receive(c.fd, g.buf, size, discard)
		if err == nil && n == 0 {
			err = io.EOF
		}
		if err != nil {
			if !errors.Is(err, unix.EAGAIN) {
				g.lose(c, err)
			}
			return
		}
		g.counts.wire.Add(int64(n))
		if discard {
			c.parser.skip(uint64(n))
		} else {
			g.take(c, g.buf[:n], time.Now())
		}
		if uint64(n) < size {
			return // the socket is empty; epoll tells when it is not
		}
	}
}

func (g *Generator) take(c *client, b []byte, now time.Time) {
	if c.state == upgrading {
		b = g.takeHandshake(c, b)
	}
	for len(b) > 0 && g.clients[c.fd] == c && c.state != stalled {
		rest, got, err := c.parser.next(b)
		if err != nil {
			g.lose(c, err)
			return
		}
		switch got {
		case gotMessage:
			g.takeMessage(c, now.UnixNano())
			c.parser.done()
		case gotControl:
			g.takeControl(c)
		}
		b = rest
	}
}

// takeHandshake gives what comes after the handshake's answer.
func (g *Generator) takeHandshake(c *client, b []byte) []byte {
	c.head = append(c.head, b...)
	head, rest, whole := strings.Cut(string(c.head), headersEnd)
	if !whole {
		if len(c.head) > maxHandshake {
			g.lose(c, errors.New("endless headers"))
		}
		return nil
	}
	if err := g.proto.check(head); err != nil {
		g.lose(c, err)
		return nil
	}
	g.opened(c)
	return []byte(rest)
}

func (g *Generator) opened(c *client) {
	c.state, c.head = open, nil
	g.connecting--
	switch c.role {
	case stalling:
		g.stall(c)
	case steady:
		g.counts.steady.Add(1)
		if g.proto.Deflate && g.namers < mostNamers {
			g.namers++
			c.namer, c.parser.keep = true, maxPayload
		}
	}
}

func (g *Generator) takeControl(c *client) {
	switch c.parser.opcode {
	case opPing:
		g.send(c, appendControl(nil, opPong, c.parser.payload()))
	case opClose:
		g.lose(c, closeReason(c.parser.payload()))
	}
}

// takeMessage notes an arrival. What a passing client gets first is as old as the last snapshot, so its arrivals are
// counted and not timed.
func (g *Generator) takeMessage(c *client, at int64) {
	p := &c.parser
	g.counts.messages.Add(1)
	g.counts.payload.Add(int64(p.size))
	switch {
	case c.role == passing:
	case p.deflated:
		g.takeDeflated(c, at)
	default:
		g.takeTimestamp(p.tail, at)
	}
}

func (g *Generator) takeTimestamp(tail []byte, at int64) {
	timestamp, ok := timestampOf(tail)
	if !ok {
		g.tally.unknown()
		return
	}
	g.tally.arrived(timestamp, at)
}

func (g *Generator) takeDeflated(c *client, at int64) {
	timestamp, ok := g.names.arrived(c.parser.tail, at)
	if ok {
		g.tally.arrived(timestamp, at)
		return
	}
	if !c.namer {
		return
	}
	timestamp, waited, err := g.names.name(c.parser.tail)
	if err != nil {
		g.tally.unknown()
		return
	}
	for _, at := range waited {
		g.tally.arrived(timestamp, at)
	}
}
