package zmqsub

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	zmq "github.com/pebbe/zmq4"
)

const (
	// addressTimeout is how long an address may take from the start of the connection to the end of ZMQ's handshake
	// before the next address of the name is tried. A connection that is not accepted fails sooner, after
	// connectTimeout.
	addressTimeout = 5 * time.Second
	// lookupInterval is the pause between the failure of a name's last address and the next lookup.
	lookupInterval = time.Second
	// lookupTimeout: a resolver asks up to three servers, 5 s each by default (resolv.conf's timeout).
	lookupTimeout = 15 * time.Second
	// maxAddresses bounds the addresses tried for a name. Real nodes have one or two.
	maxAddresses = 16
	// downLogDelay is how long an endpoint may be down before the log says so: a node that restarts on the same
	// machine, or a container's name that appears late, is usually up sooner.
	downLogDelay = 5 * time.Second
)

// resolver is the part of net.Resolver in use.
type resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// A Link is the state of the connection to one endpoint.
type Link struct {
	Endpoint string // as configured
	Up       bool
	Address  string   // of the connection, such as 127.0.0.1:28332; "" while it is down
	Tried    []string // the addresses that failed, each with the reason; the lookup's error if that failed
}

// link is the state of one endpoint. The goroutine that owns the socket owns it.
//
// Of a name with several addresses, one is connected at a time: two would deliver each message twice. A lookup returns
// the list, its addresses are tried in turn, and after the last comes another lookup. libzmq itself retries the current
// address until the next one is tried.
type link struct {
	endpoint
	up       bool
	current  string    // the address that the socket is connecting or connected to; "": none
	since    time.Time // when the current address was first tried
	accepted bool      // the current address has accepted a connection
	next     []string  // addresses to try before the next lookup
	last     string    // the current address of the socket before
	dropped  bool      // the current address was connected before: it is tried first

	lookup    chan lookupResult // nil: no lookup is running
	lookupAt  time.Time         // when the next one is due; zero: none is
	attempted []attempt

	down   time.Time // since when the connection is down
	logged bool      // the log says that it is down
}

type lookupResult struct {
	addresses []string
	err       error
}

type attempt struct{ address, outcome string }

// The outcomes of attempts.
const (
	outcomeNone   = "no connection"
	outcomeSilent = "connects, but does not speak ZMQ"
	outcomeTaken  = "another endpoint uses this address already"
)

// reset prepares for a new, unconnected socket.
func (k *link) reset(now time.Time) {
	if k.current != "" {
		k.last = k.current
	}
	if k.up || k.down.IsZero() {
		k.down = now
	}
	k.up, k.current, k.next, k.dropped = false, "", nil, false
	k.lookupAt = time.Time{}
	if k.host != "" && k.lookup == nil {
		k.lookupAt = now
	}
}

// failed records that the current address failed, and returns the address to try next: "" for none.
func (k *link) failed(outcome string, now time.Time) (next string) {
	k.recordAttempt(k.current, outcome)
	if k.host == "" {
		return ""
	}
	if len(k.next) > 0 {
		next, k.next = k.next[0], k.next[1:]
		return next
	}
	if k.lookup == nil && k.lookupAt.IsZero() {
		k.lookupAt = now.Add(lookupInterval)
	}
	return ""
}

func (k *link) recordAttempt(address, outcome string) {
	if i := slices.IndexFunc(k.attempted, func(a attempt) bool { return a.address == address }); i >= 0 {
		k.attempted[i].outcome = outcome
		return
	}
	k.attempted = append(k.attempted, attempt{address, outcome})
}

// applyLookup applies the result of a lookup, and returns the address to try next: "" for the current one.
func (k *link) applyLookup(a lookupResult, now time.Time) (next string) {
	k.lookup, k.lookupAt = nil, time.Time{}
	if a.err != nil {
		k.attempted = append(slices.DeleteFunc(k.attempted, isLookup), attempt{"", a.err.Error()})
		k.lookupAt = now.Add(lookupInterval)
		return ""
	}
	k.attempted = slices.DeleteFunc(k.attempted, func(t attempt) bool { return !slices.Contains(a.addresses, t.address) })
	current := k.current
	if current == "" {
		current = k.last
	}
	index := slices.Index(a.addresses, current)
	keep := index >= 0 && k.current != "" && (k.dropped || len(a.addresses) == 1)
	// The current address comes last, as it has been tried, or first if it stays.
	k.next = append(slices.Clone(a.addresses[index+1:]), a.addresses[:index+1]...)
	k.dropped = false
	if keep {
		k.next = k.next[:len(k.next)-1]
		k.since = now
		return ""
	}
	next, k.next = k.next[0], k.next[1:]
	return next
}

func isLookup(a attempt) bool { return a.address == "" }

// startLookup resolves a name beside the loop.
func (l *Listener) startLookup(ctx context.Context, k *link) {
	result := make(chan lookupResult, 1)
	k.lookup, k.lookupAt = result, time.Time{}
	host, port := k.host, k.port
	l.lookups.Go(func() {
		ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
		defer cancel()
		found, err := l.resolver.LookupNetIP(ctx, "ip", host)
		if err == nil && len(found) == 0 {
			err = fmt.Errorf("lookup %s: no addresses", host)
		}
		var list []string
		for _, addr := range found[:min(len(found), maxAddresses)] {
			if address := tcp(addr, port); !slices.Contains(list, address) {
				list = append(list, address)
			}
		}
		result <- lookupResult{list, err}
	})
}

// maintain does what is due for the links: lookups, their results, and the next address.
func (l *Listener) maintain(ctx context.Context, s *socket, now time.Time) {
	down := false
	for _, k := range l.links {
		if k.up {
			continue
		}
		down = true
		select {
		case a := <-k.lookup:
			l.connectTo(s, k, k.applyLookup(a, now), now)
		default:
		}
		switch {
		case k.host == "":
		case !k.lookupAt.IsZero() && !now.Before(k.lookupAt):
			l.startLookup(ctx, k)
		case k.current != "" && k.lookup == nil && k.lookupAt.IsZero() && now.Sub(k.since) > l.addressTimeout:
			l.connectTo(s, k, k.failed(k.outcome(), now), now)
		}
		if !k.logged && now.Sub(k.down) > l.downLogDelay {
			k.logged = true
			l.log.Warn("no ZMQ connection to an endpoint of --zmq; still trying", "endpoint", k.text, "tried", k.attempts())
		}
	}
	if down {
		l.publish()
	}
}

func (k *link) outcome() string {
	if k.accepted {
		return outcomeSilent
	}
	return outcomeNone
}

// connectTo makes an address the current one of its link; "" changes nothing.
func (l *Listener) connectTo(s *socket, k *link, address string, now time.Time) {
	for address != "" {
		if k.current != "" {
			if err := s.data.Disconnect(k.current); err != nil {
				l.log.Debug("ZMQ disconnect", "address", k.current, "err", err)
			}
		}
		k.current, k.since, k.accepted = address, now, false
		outcome := outcomeTaken
		if !slices.ContainsFunc(l.links, func(other *link) bool { return other != k && other.current == address }) {
			err := s.data.Connect(address)
			if err == nil {
				return
			}
			outcome = err.Error()
		}
		next := k.failed(outcome, now)
		k.current = ""
		address = next
	}
}

// linkOf returns the link that an event is about: nil for an address that is no longer tried. As the socket may use
// IPv6, libzmq reports 127.0.0.1 sometimes as ::ffff:127.0.0.1.
func (l *Listener) linkOf(address string) *link {
	if ap, err := netip.ParseAddrPort(trimScheme(address)); err == nil {
		address = tcp(ap.Addr(), ap.Port())
	}
	for _, k := range l.links {
		if k.current == address {
			return k
		}
	}
	return nil
}

// handleEvent applies an event of the socket, and returns the message to send, if any.
func (l *Listener) handleEvent(s *socket, event zmq.Event, address string, now time.Time) (m Message, ok bool) {
	k := l.linkOf(address)
	if k == nil {
		return Message{}, false
	}
	defer l.publish()
	m = Message{At: now, Endpoint: k.text, Address: trimScheme(k.current)}
	switch event {
	case zmq.EVENT_CONNECTED:
		k.accepted = true
	case zmq.EVENT_HANDSHAKE_SUCCEEDED:
		if k.up {
			break
		}
		k.up, k.logged, k.attempted, k.next, k.lookupAt = true, false, nil, nil, time.Time{}
		m.Kind = Up
		return m, true
	case zmq.EVENT_DISCONNECTED:
		if !k.up {
			break // a peer that accepts connections and closes them is no connection that was lost
		}
		k.up, k.down, k.accepted, k.dropped, k.since = false, now, false, true, now
		if k.host != "" && k.lookup == nil {
			k.lookupAt = now // the name may have another address by now
		}
		m.Kind = Down
		return m, true
	case zmq.EVENT_CONNECT_RETRIED:
		if !k.up {
			outcome := k.outcome()
			k.accepted = false // libzmq tries this address again, unless another one is next
			l.connectTo(s, k, k.failed(outcome, now), now)
		}
	}
	return Message{}, false
}

// publish makes the state of the links visible to other goroutines.
func (l *Listener) publish() {
	view := make([]Link, len(l.links))
	for i, k := range l.links {
		view[i] = Link{Endpoint: k.text, Up: k.up}
		if k.up {
			view[i].Address = trimScheme(k.current)
		} else {
			view[i].Tried = k.attempts()
		}
	}
	l.view.Store(&view)
}

// attempts returns the failed attempts.
func (k *link) attempts() []string {
	var list []string
	for _, a := range k.attempted {
		if isLookup(a) {
			list = append(list, a.outcome)
			continue
		}
		list = append(list, trimScheme(a.address)+" ("+a.outcome+")")
	}
	if k.current != "" && !slices.ContainsFunc(k.attempted, func(a attempt) bool { return a.address == k.current }) {
		outcome := "no response yet"
		if k.accepted {
			outcome = outcomeSilent + " yet"
		}
		list = append(list, trimScheme(k.current)+" ("+outcome+")")
	}
	for _, address := range k.next {
		if !slices.ContainsFunc(k.attempted, func(a attempt) bool { return a.address == address }) {
			list = append(list, trimScheme(address)+" (not tried yet)")
		}
	}
	return list
}

// trimScheme returns a TCP address without its scheme.
func trimScheme(address string) string { return strings.TrimPrefix(address, "tcp://") }

// Links returns the state of the connections, in the order of the endpoints. It is safe for concurrent use.
func (l *Listener) Links() []Link { return *l.view.Load() }

// Error returns nil for a connection that is up, and otherwise names the endpoint and the attempts.
func (k Link) Error() error {
	switch {
	case k.Up:
		return nil
	case len(k.Tried) == 0:
		return fmt.Errorf("no ZMQ connection to %s", k.Endpoint)
	}
	return errors.New("no ZMQ connection to " + k.Endpoint + ": " + strings.Join(k.Tried, ", "))
}
