package fanout

import (
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// A pace spreads things evenly over time.
type pace struct {
	perSecond float64
	began     time.Time
	done      int
}

// take gives how many are due now, at most so many, and counts them as done.
func (p *pace) take(now time.Time, most int) int {
	if p.began.IsZero() {
		p.began = now
	}
	due := int(now.Sub(p.began).Seconds()*p.perSecond) - p.done
	due = max(min(due, most), 0)
	p.done += due
	return due
}

const (
	// Stay is how long a passing client usually stays: some snapshots long, and hundreds come and go in a minute's run.
	Stay = 10 * time.Second
	// The passing clients take turns with so many addresses, so that a server sees one again only after minutes; the
	// addresses before the first of them are the steady ones'.
	passingAddresses    = 10_000
	firstPassingAddress = 20_000
)

// A crowd is the clients that come and go, and those that have stopped to read.
type crowd struct {
	pace   pace
	stay   time.Duration
	here   []*client // passing ones, the one that has been there longest first
	opened int
	left   int
}

func (w *crowd) nextAddress() netip.Addr {
	w.opened++
	return SourceAddress(firstPassingAddress + w.opened%passingAddresses)
}

// Churn makes so many clients a minute come, stay for a while and go, from now on. With 0 no more come; those that
// are there go in their time.
func (g *Generator) Churn(perMinute int, stay time.Duration) error {
	return g.do(func() {
		g.crowd.pace = pace{perSecond: float64(perMinute) / 60}
		g.crowd.stay = stay
	})
}

// Passing is how many passing clients are there, and how many have come and gone.
func (g *Generator) Passing() (here, gone int, err error) {
	err = g.do(func() { here, gone = len(g.crowd.here), g.crowd.left })
	return here, gone, err
}

// moveCrowd lets passing clients come and go.
func (g *Generator) moveCrowd(now time.Time) {
	w := &g.crowd
	for range w.pace.take(now, maxConnecting-g.connecting) {
		g.open(passing, w.nextAddress(), now)
	}
	for len(w.here) > 0 && now.Sub(w.here[0].since) > w.stay {
		c := w.here[0]
		w.here = w.here[1:]
		if g.clients[c.fd] == c {
			g.dismiss(c, now)
		}
	}
}

// dismiss makes a client leave: every second one says goodbye and waits for the answer, as a browser does whose page
// is closed; the others, and those that wait in vain, just go, as if their link broke.
func (g *Generator) dismiss(c *client, now time.Time) {
	w := &g.crowd
	if c.leaving || c.state != open {
		g.lose(c, errNoAnswer)
		return
	}
	w.left++
	c.leaving, c.since = true, now
	if w.left%2 == 0 {
		g.lose(c, nil)
		return
	}
	w.here = append(w.here, c)
	g.send(c, appendControl(nil, opClose, goingAway))
}

// goingAway is a close frame's payload: 1001.
var goingAway = []byte{1001 >> 8, 1001 & 0xff}

// Stall makes n of the steady clients read no more, for good: one that the server drops for it comes again.
func (g *Generator) Stall(n int) error {
	return g.do(func() {
		for _, c := range g.clients {
			if n > 0 && c.state == open && c.role == steady && !c.namer {
				g.counts.steady.Add(-1)
				g.stall(c)
				n--
			}
		}
	})
}

func (g *Generator) stall(c *client) {
	c.role, c.state = stalling, stalled
	g.watch(unix.EPOLL_CTL_MOD, c, unix.EPOLLRDHUP) // epoll still tells of the connection's end
}
