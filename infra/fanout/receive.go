package fanout

import (
	"errors"
	"io"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"sightglass/edge/ws"
)

const (
	// firstRead is the read size in bytes between messages. It holds a whole delta, or the header of a larger message, whose
	// payload can then be discarded.
	firstRead = 4 << 10
	// minDiscard is the number of bytes from which another system call that discards them costs less than copying them.
	minDiscard = 8 << 10
	// maxInflaters is the number of clients that inflate messages. One is not enough: a slow client skips messages.
	maxInflaters = 16
)

// read reads from a client's socket until it is empty.
func (g *Generator) read(c *client) {
	for g.clients[c.fd] == c && c.state != stalled {
		skip := c.parser.skippable()
		discard := skip >= minDiscard
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
				g.drop(c, err)
			}
			return
		}
		g.counts.wire.Add(int64(n))
		if discard {
			c.parser.skip(uint64(n))
		} else {
			g.process(c, g.buf[:n], time.Now())
		}
		if uint64(n) < size {
			return // the socket is empty; epoll reports when it is readable again
		}
	}
}

// process handles bytes that a client received.
func (g *Generator) process(c *client, b []byte, now time.Time) {
	if c.state == upgrading {
		b = g.processHandshake(c, b)
	}
	for len(b) > 0 && g.clients[c.fd] == c && c.state != stalled {
		rest, parsed, err := c.parser.next(b)
		if err != nil {
			g.drop(c, err)
			return
		}
		switch parsed {
		case messageEnd:
			g.recordMessage(c, now.UnixNano())
			c.parser.release()
		case controlEnd:
			g.handleControl(c)
		}
		b = rest
	}
}

// processHandshake handles bytes of the handshake response and returns those after it.
func (g *Generator) processHandshake(c *client, b []byte) []byte {
	c.response = append(c.response, b...)
	headers, rest, complete := strings.Cut(string(c.response), headersEnd)
	if !complete {
		if len(c.response) > maxHandshake {
			g.drop(c, errors.New("handshake response too large"))
		}
		return nil
	}
	if err := g.protocol.checkResponse(headers); err != nil {
		g.drop(c, err)
		return nil
	}
	g.opened(c)
	return []byte(rest)
}

// opened completes a client's handshake.
func (g *Generator) opened(c *client) {
	c.state, c.response = open, nil
	g.connecting--
	switch c.role {
	case stalling:
		g.stall(c)
	case steady:
		g.counts.steady.Add(1)
		if g.protocol.Deflate && g.inflaters < maxInflaters {
			g.inflaters++
			c.inflates, c.parser.maxTail = true, maxPayload
		}
	}
}

func (g *Generator) handleControl(c *client) {
	switch c.parser.opcode {
	case ws.Ping:
		g.send(c, appendControl(nil, ws.Pong, c.parser.payload()))
	case ws.Close:
		g.drop(c, closeError(c.parser.payload()))
	}
}

// recordMessage records the arrival of a message at a time in Unix nanoseconds. Messages of churning clients are counted
// but not timed, because the first message of a connection carries an older snapshot.
func (g *Generator) recordMessage(c *client, at int64) {
	p := &c.parser
	g.counts.messages.Add(1)
	g.counts.payload.Add(int64(p.size))
	switch {
	case c.role == churning:
	case p.deflated:
		g.recordDeflated(c, at)
	default:
		timestamp, ok := parseTimestamp(p.tail)
		if !ok {
			g.deliveries.countUntimed()
			return
		}
		g.deliveries.received(timestamp, at)
	}
}

func (g *Generator) recordDeflated(c *client, at int64) {
	timestamp, ok := g.index.lookup(c.parser.tail, at)
	if ok {
		g.deliveries.received(timestamp, at)
		return
	}
	if !c.inflates {
		return
	}
	timestamp, waiting, err := g.index.add(c.parser.tail)
	if err != nil {
		g.deliveries.countUntimed()
		return
	}
	for _, at := range waiting {
		g.deliveries.received(timestamp, at)
	}
}
