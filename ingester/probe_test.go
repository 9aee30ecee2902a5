package ingester

import (
	"strings"
	"testing"

	"sightglass/ingester/bitcoind"
	"sightglass/ingester/zmqsub"
)

// TestProbe_Topics compares the node's notifications with --zmq and the received topics.
func TestProbe_Topics(t *testing.T) {
	const here, there, mapped = "tcp://127.0.0.1:28332", "tcp://0.0.0.0:28333", "tcp://127.0.0.1:38332"
	n := func(topic, address string, mark int) bitcoind.Notification {
		return bitcoind.Notification{Topic: topic, Address: address, HighWater: mark}
	}
	both := []bitcoind.Notification{n("rawtx", here, 100_000), n("sequence", here, 100_000)}
	apart := []bitcoind.Notification{n("rawtx", here, 100_000), n("sequence", there, 100_000)}
	for name, c := range map[string]struct {
		published []bitcoind.Notification
		zmq       []string
		down      bool     // no endpoint is connected
		comes     []string // the received topics
		want      []string // verdict and a part of each finding
	}{
		"nothing": {
			published: []bitcoind.Notification{}, zmq: []string{here},
			want: []string{"bad zmqpubrawtx=" + here, "bad zmqpubsequence=" + here},
		},
		"no fault, idle": {published: both, zmq: []string{here}, want: []string{"good no message within 5s", "good no message within 5s"}},
		"no fault, received": {
			published: both, zmq: []string{here}, comes: []string{"rawtx", "sequence"},
			want: []string{"good and received", "good and received"},
		},
		"not connected": {
			published: both, zmq: []string{here}, down: true,
			want: []string{"bad there is no connection to that port", "bad there is no connection to that port"},
		},
		"no high-water mark": {
			published: []bitcoind.Notification{n("rawtx", here, 0), n("sequence", here, 0)}, zmq: []string{here},
			want: []string{"good published at", "good published at"},
		},
		"another topic sets the mark": {
			published: append([]bitcoind.Notification{n("hashblock", here, 1000)}, both...), zmq: []string{here},
			want: []string{"poor zmqpubhashblockhwm=100000", "poor zmqpubhashblockhwm=100000"},
		},
		"a mark below a large block": {
			published: []bitcoind.Notification{n("rawtx", here, 19_999), n("sequence", here, 20_000)}, zmq: []string{here},
			want: []string{"poor zmqpubrawtxhwm=100000", "poor zmqpubrawtxhwm=100000"}, // they share the address
		},
		"a mark that holds a large block": {
			published: []bitcoind.Notification{n("rawtx", here, 20_000), n("sequence", here, 1000)}, zmq: []string{here},
			want: []string{"good published at", "good published at"},
		},
		"one elsewhere": {published: apart, zmq: []string{here}, want: []string{"good published at", "bad " + there + ", which is not in --zmq"}},
		"one elsewhere, in --zmq": {
			published: apart, zmq: []string{here, "tcp://127.0.0.1:28333"},
			want: []string{"good published at", "good published at"},
		},
		"a mapped port, received": {
			published: both, zmq: []string{mapped}, comes: []string{"rawtx", "sequence"},
			want: []string{"good a mapped one", "good a mapped one"},
		},
		"a mapped port, received, with a low mark": {
			published: []bitcoind.Notification{n("rawtx", here, 1000), n("sequence", here, 1000)}, zmq: []string{mapped}, comes: []string{"rawtx", "sequence"},
			want: []string{"poor zmqpubrawtxhwm=100000", "poor zmqpubrawtxhwm=100000"},
		},
		"a mapped port, idle":          {published: both, zmq: []string{mapped}, want: []string{"poor unless the port is mapped", "poor unless the port is mapped"}},
		"a mapped port, not connected": {published: both, zmq: []string{mapped}, down: true, want: []string{"bad no endpoint of --zmq", "bad no endpoint of --zmq"}},
		"two nodes": {
			published: []bitcoind.Notification{}, zmq: []string{here}, comes: []string{"rawtx"},
			want: []string{"poor of two nodes", "bad zmqpubsequence=" + here},
		},
		"no notifications": {
			zmq: []string{here}, comes: []string{"rawtx"},
			want: []string{"good received", "poor no message within 5s"},
		},
		"no notifications, not connected": {zmq: []string{here}, down: true},
	} {
		t.Run(name, func(t *testing.T) {
			h := received{topics: make(map[string]bool)}
			for _, endpoint := range c.zmq {
				h.links = append(h.links, zmqsub.Link{Endpoint: endpoint, Up: !c.down})
			}
			for _, topic := range c.comes {
				h.topics[topic] = true
			}
			var p probe
			p.topics(Options{NodeOptions: NodeOptions{ZMQ: c.zmq}}, c.published, h)
			if len(p.findings) != len(c.want) {
				t.Fatalf("got findings %v, want %d", p.findings, len(c.want))
			}
			for i, want := range c.want {
				verdict, part, _ := strings.Cut(want, " ")
				if f := p.findings[i]; string(f.Verdict) != verdict || !strings.Contains(f.Text, part) {
					t.Errorf("got %v, want verdict %s and %q", f, verdict, part)
				}
			}
		})
	}
}
