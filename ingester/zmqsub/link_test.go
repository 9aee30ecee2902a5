package zmqsub

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sightglass/shared/logtest"
)

// names is a resolver with the addresses that a test sets.
type names struct {
	mu    sync.Mutex
	known map[string][]string
	asked int
	wait  bool // lookups block until the context ends
}

func (n *names) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	n.mu.Lock()
	n.asked++
	known, wait := n.known[host], n.wait
	n.mu.Unlock()
	if wait {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if known == nil || network != "ip" {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	var addrs []netip.Addr
	for _, text := range known {
		addrs = append(addrs, netip.MustParseAddr(text))
	}
	return addrs, nil
}

func (n *names) set(host string, addrs ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.known[host] = addrs
}

func (n *names) lookups() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.asked
}

// named returns a listener that resolves with names and has short timeouts.
func named(t *testing.T, n *names, log *slog.Logger, endpoints ...string) *Listener {
	t.Helper()
	l, err := New(endpoints, []string{"rawtx"}, log)
	if err != nil {
		t.Fatal(err)
	}
	l.resolver, l.addressTimeout, l.downLogDelay = n, 200*time.Millisecond, 100*time.Millisecond
	return l
}

var noLog = slog.New(slog.DiscardHandler)

// needIPv6 skips a test on a machine whose loopback interface has no IPv6.
func needIPv6(t *testing.T) {
	t.Helper()
	ln, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Skip("no IPv6 here: ", err)
	}
	ln.Close()
}

func portOf(t *testing.T, endpoint string) string {
	t.Helper()
	_, port, err := net.SplitHostPort(trimScheme(endpoint))
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// eventually polls until a condition holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatal("not within 20 s: ", what)
		}
		time.Sleep(time.Millisecond)
	}
}

// TestListener_TriesSecondAddress: localhost has two addresses, as on many systems, and the node publishes on IPv4
// only.
func TestListener_TriesSecondAddress(t *testing.T) {
	needIPv6(t)
	node := newSender(t, "tcp://127.0.0.1:*")
	defer node.close()
	port := portOf(t, node.bound)
	l := named(t, &names{known: map[string][]string{"both": {"::1", "127.0.0.1"}}}, noLog, "tcp://both:"+port)
	messages := start(t, l)
	if up := await(t, messages, Up); up.Address != "127.0.0.1:"+port || up.Endpoint != "tcp://both:"+port {
		t.Errorf("got %+v, want the IPv4 address", up)
	}
	node.awaitSubscription(t)
	node.send(t, "body")
	await(t, messages, Data)
	if links := l.Links(); len(links) != 1 || !links[0].Up || links[0].Address != "127.0.0.1:"+port {
		t.Errorf("got links %+v, want one connected to the IPv4 address", links)
	}
}

// TestListener_ConnectsToIPv6: the node publishes on IPv6 only.
func TestListener_ConnectsToIPv6(t *testing.T) {
	needIPv6(t)
	node := newSender(t, "tcp://[::1]:*")
	defer node.close()
	port := portOf(t, node.bound)
	l := named(t, &names{known: map[string][]string{"both": {"127.0.0.1", "::1"}}}, noLog, "tcp://both:"+port)
	if up := await(t, start(t, l), Up); up.Address != "[::1]:"+port {
		t.Errorf("got %+v, want the IPv6 address", up)
	}
}

// TestListener_UsesOneAddressAtATime: a node that publishes on all addresses of its name delivers each message once,
// and after a reconnect on the next address.
func TestListener_UsesOneAddressAtATime(t *testing.T) {
	node := newSender(t, "tcp://127.0.0.2:*")
	defer node.close()
	port := portOf(t, node.bound)
	all := []string{"127.0.0.2", "127.0.0.3", "127.0.0.4"}
	for _, more := range all[1:] {
		if err := node.socket.Bind("tcp://" + more + ":" + port); err != nil {
			t.Fatal(err)
		}
	}
	l := named(t, &names{known: map[string][]string{"all": all}}, noLog, "tcp://all:"+port)
	messages := start(t, l)
	for round := range 4 {
		want := all[round%len(all)] + ":" + port
		if up := await(t, messages, Up); up.Address != want {
			t.Errorf("socket %d: got a connection to %s, want %s", round, up.Address, want)
		}
		node.awaitSubscription(t)
		const sent = 100
		for i := range sent {
			node.send(t, fmt.Sprint(i))
		}
		for i := range sent {
			if m := await(t, messages, Data); string(m.Frames[1]) != fmt.Sprint(i) {
				t.Fatalf("got message %d as %s, want them in order", i, m.Frames[1])
			}
		}
		l.Reconnect()
	}
}

// TestListener_SkipsAddressWithoutZMQ: the first address accepts connections, and then closes them or sends nothing.
func TestListener_SkipsAddressWithoutZMQ(t *testing.T) {
	for name, hangUp := range map[string]bool{"closes": true, "sends nothing": false} {
		t.Run(name, func(t *testing.T) {
			node := newSender(t, "tcp://127.0.0.3:*")
			defer node.close()
			port := portOf(t, node.bound)
			ln, err := net.Listen("tcp", "127.0.0.2:"+port)
			if err != nil {
				t.Fatal(err)
			}
			defer ln.Close()
			go func() {
				for {
					conn, err := ln.Accept()
					if err != nil {
						return
					}
					defer conn.Close()
					if hangUp {
						conn.Close()
					}
				}
			}()
			l := named(t, &names{known: map[string][]string{"both": {"127.0.0.2", "127.0.0.3"}}}, noLog, "tcp://both:"+port)
			if up := await(t, start(t, l), Up); up.Address != "127.0.0.3:"+port {
				t.Errorf("got %+v, want the second address", up)
			}
		})
	}
}

// TestListener_FollowsNameThatMoves: a container's name does not exist before the container, and has another address
// after a restart.
func TestListener_FollowsNameThatMoves(t *testing.T) {
	node := newSender(t, "tcp://127.0.0.2:*")
	port := portOf(t, node.bound)
	known := &names{known: make(map[string][]string)}
	l := named(t, known, noLog, "tcp://bitcoind:"+port)
	messages := start(t, l)
	eventually(t, "a lookup that failed", func() bool {
		return strings.Contains(l.Links()[0].Error().Error(), "lookup bitcoind: no such host")
	})
	known.set("bitcoind", "127.0.0.2")
	if up := await(t, messages, Up); up.Address != "127.0.0.2:"+port {
		t.Errorf("got %+v, want the second address", up)
	}
	node.close()
	await(t, messages, Down)
	known.set("bitcoind", "127.0.0.3")
	node = newSender(t, "tcp://127.0.0.3:"+port)
	defer node.close()
	if up := await(t, messages, Up); up.Address != "127.0.0.3:"+port {
		t.Errorf("after the move: got %+v, want the new address", up)
	}
	node.awaitSubscription(t)
	node.send(t, "moved")
	if m := await(t, messages, Data); string(m.Frames[1]) != "moved" {
		t.Errorf("got %s, want moved", m.Frames[1])
	}
}

// TestListener_ReconnectsToSameAddress: after a lost connection its address is tried first.
func TestListener_ReconnectsToSameAddress(t *testing.T) {
	node := newSender(t, "tcp://127.0.0.3:*")
	port := portOf(t, node.bound)
	l := named(t, &names{known: map[string][]string{"both": {"127.0.0.2", "127.0.0.3"}}}, noLog, "tcp://both:"+port)
	messages := start(t, l)
	for range 3 {
		if up := await(t, messages, Up); up.Address != "127.0.0.3:"+port {
			t.Errorf("got %+v, want the second address", up)
		}
		node.close()
		if down := await(t, messages, Down); down.Endpoint != "tcp://both:"+port {
			t.Errorf("got %+v, want the endpoint", down)
		}
		node = newSender(t, "tcp://127.0.0.3:"+port)
	}
	node.close()
}

// TestListener_SlowResolverDelaysNoOther: the other endpoint works meanwhile, and the listener ends.
func TestListener_SlowResolverDelaysNoOther(t *testing.T) {
	node := newSender(t, "tcp://127.0.0.1:*")
	defer node.close()
	known := &names{wait: true}
	l := named(t, known, noLog, "tcp://slow:1", node.bound)
	messages := start(t, l)
	await(t, messages, Up)
	eventually(t, "a lookup", func() bool { return known.lookups() > 0 })
	node.awaitSubscription(t)
	for range 3 {
		node.send(t, "body")
		await(t, messages, Data)
	}
	if known.lookups() != 1 {
		t.Errorf("got %d concurrent lookups, want 1", known.lookups())
	}
}

// TestListener_ReportsDeadEndpoint: the log names the dead one of two endpoints once, with the attempted addresses, and
// again after the next outage.
func TestListener_ReportsDeadEndpoint(t *testing.T) {
	alive, dead := newSender(t, "tcp://127.0.0.1:*"), newSender(t, "tcp://127.0.0.2:*")
	defer alive.close()
	endpoint := "tcp://dead:" + portOf(t, dead.bound)
	dead.close()
	known := &names{known: map[string][]string{"dead": {"127.0.0.3", "127.0.0.2"}}}
	var log logtest.Log
	l := named(t, known, slog.New(slog.NewTextHandler(&log, nil)), alive.bound, endpoint)
	messages := start(t, l)
	await(t, messages, Up)
	for outage := range 2 {
		eventually(t, "both addresses to be tried, and three rounds of them", func() bool {
			links := l.Links()
			return links[0].Up && !links[1].Up && links[1].Endpoint == endpoint && known.lookups() >= 3*(outage+1) &&
				slices.Contains(links[1].Tried, "127.0.0.3:"+portOf(t, endpoint)+" (no connection)") &&
				slices.Contains(links[1].Tried, trimScheme(dead.bound)+" (no connection)")
		})
		if n := strings.Count(log.String(), "no ZMQ connection to an endpoint"); n != outage+1 {
			t.Errorf("got %d log lines after %d outages, want one each:\n%s", n, outage+1, log.String())
		}
		dead = newSender(t, dead.bound)
		if up := await(t, messages, Up); up.Endpoint != endpoint {
			t.Errorf("got %+v, want the second address", up)
		}
		dead.close()
		await(t, messages, Down)
	}
	if !strings.Contains(log.String(), endpoint) || !strings.Contains(log.String(), "127.0.0.3:") {
		t.Errorf("got no log line with the endpoint and its addresses:\n%s", log.String())
	}
}

// TestListener_EndpointsWithSameAddress: two endpoints with one address deliver each message once.
func TestListener_EndpointsWithSameAddress(t *testing.T) {
	node := newSender(t, "tcp://127.0.0.2:*")
	defer node.close()
	known := &names{known: map[string][]string{"same": {"127.0.0.2"}}}
	l := named(t, known, noLog, node.bound, "tcp://same:"+portOf(t, node.bound))
	messages := start(t, l)
	await(t, messages, Up)
	eventually(t, "the second to be rejected", func() bool { return strings.Contains(fmt.Sprint(l.Links()[1].Error()), outcomeTaken) })
	node.awaitSubscription(t)
	node.send(t, "first")
	node.send(t, "second")
	for _, want := range []string{"first", "second"} {
		if m := await(t, messages, Data); string(m.Frames[1]) != want {
			t.Errorf("got %s, want %s", m.Frames[1], want)
		}
	}
}

// TestListener_EndpointKinds: libzmq's events name the endpoint as we do.
func TestListener_EndpointKinds(t *testing.T) {
	needIPv6(t)
	for _, bind := range []string{"tcp://127.0.0.1:*", "tcp://[::1]:*", "ipc://" + filepath.Join(t.TempDir(), "socket"), "ipc://@sightglass-test"} {
		node := newSender(t, bind)
		l, messages := run(t, node.bound)
		if up := await(t, messages, Up); up.Endpoint != node.bound || up.Address != trimScheme(node.bound) {
			t.Errorf("%s: got %+v", node.bound, up)
		}
		node.close()
		await(t, messages, Down)
		if l.Links()[0].Up {
			t.Errorf("%s: got the connection as up, want down", node.bound)
		}
	}
}
