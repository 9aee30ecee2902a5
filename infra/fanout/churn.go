package fanout

import (
	"encoding/binary"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"sightglass/edge/ws"
)

// A pacer spreads operations evenly over time.
type pacer struct {
	perSecond float64
	start     time.Time
	done      int
}

// due returns how many operations are due now, at most limit, and counts them as done.
func (p *pacer) due(now time.Time, limit int) int {
	if p.start.IsZero() {
		p.start = now
	}
	n := int(now.Sub(p.start).Seconds()*p.perSecond) - p.done
	n = max(min(n, limit), 0)
	p.done += n
	return n
}

const (
	// ChurnStay is the default time that a churning client stays connected: many snapshots, and short enough for hundreds
	// of clients in a run of one minute.
	ChurnStay = 10 * time.Second
	// Churning and stalled clients rotate through churnAddresses source addresses, so that a server sees the same address
	// again only after minutes. Steady clients use the addresses before firstChurnAddress.
	churnAddresses    = 10_000
	firstChurnAddress = 20_000
)

// churn is the state of the clients that connect and leave.
type churn struct {
	pacer        pacer
	stay         time.Duration
	clients      []*client // oldest first
	opened       int       // connections from churn addresses, including those of stalled clients
	disconnected int       // clients that have left
}

func (u *churn) nextAddress() netip.Addr {
	u.opened++
	return SourceAddress(firstChurnAddress + u.opened%churnAddresses)
}

// Churn starts to connect perMinute clients a minute, each of which leaves after stay. 0 connects no more; connected
// clients still leave in time.
func (g *Generator) Churn(perMinute int, stay time.Duration) error {
	return g.do(func() {
		g.churn.pacer = pacer{perSecond: float64(perMinute) / 60}
		g.churn.stay = stay
	})
}

// Churned returns how many churning clients exist and how many have left.
func (g *Generator) Churned() (active, disconnected int, err error) {
	err = g.do(func() { active, disconnected = len(g.churn.clients), g.churn.disconnected })
	return active, disconnected, err
}

// updateChurn connects churning clients that are due and disconnects those whose time is over.
func (g *Generator) updateChurn(now time.Time) {
	u := &g.churn
	for range u.pacer.due(now, maxConnecting-g.connecting) {
		g.open(churning, u.nextAddress(), now)
	}
	for len(u.clients) > 0 && now.Sub(u.clients[0].since) > u.stay {
		c := u.clients[0]
		u.clients = u.clients[1:]
		if g.clients[c.fd] == c {
			g.disconnect(c, now)
		}
	}
}

// disconnect ends a churning client's connection. Every second client sends a close frame and waits for the response, as
// a browser does when its page is closed. The others, and those that have waited in vain, reset the connection.
func (g *Generator) disconnect(c *client, now time.Time) {
	u := &g.churn
	if c.closing || c.state != open {
		g.drop(c, errHandshakeTimeout)
		return
	}
	u.disconnected++
	c.closing, c.since = true, now
	if u.disconnected%2 == 0 {
		g.drop(c, nil)
		return
	}
	u.clients = append(u.clients, c)
	g.send(c, appendControl(nil, ws.Close, binary.BigEndian.AppendUint16(nil, ws.CloseGoingAway)))
}

// Stall makes n of the steady clients stop reading permanently. A stalled client that the server drops reconnects, and
// stalls again.
func (g *Generator) Stall(n int) error {
	return g.do(func() {
		for _, c := range g.clients {
			if n > 0 && c.state == open && c.role == steady && !c.inflates {
				g.counts.steady.Add(-1)
				g.stall(c)
				n--
			}
		}
	})
}

func (g *Generator) stall(c *client) {
	c.role, c.state = stalling, stalled
	g.watch(unix.EPOLL_CTL_MOD, c, unix.EPOLLRDHUP) // epoll still reports the end of the connection
}
