package ingester

import (
	"strings"
	"testing"

	"sightglass/ingester/bitcoind"
)

// TestProbeOfTopics: what the node says that it publishes, against where we listen.
func TestProbeOfTopics(t *testing.T) {
	const here, there = "tcp://127.0.0.1:28332", "tcp://0.0.0.0:28333"
	n := func(topic, address string, mark int) bitcoind.Notification {
		return bitcoind.Notification{Topic: topic, Address: address, HighWater: mark}
	}
	for name, c := range map[string]struct {
		published []bitcoind.Notification
		zmq       []string
		want      []string // of each finding, a part
	}{
		"nothing": {nil, []string{here}, []string{"zmqpubrawtx=" + here, "zmqpubsequence=" + here}},
		"all well": {
			[]bitcoind.Notification{n("rawtx", here, 100_000), n("sequence", here, 100_000)}, []string{here},
			[]string{"published at", "published at"},
		},
		"no bound at all": {
			[]bitcoind.Notification{n("rawtx", here, 0), n("sequence", here, 0)}, []string{here},
			[]string{"published at", "published at"},
		},
		"another topic sets the mark": {
			[]bitcoind.Notification{n("rawtx", here, 100_000), n("sequence", here, 100_000), n("hashblock", here, 1000)}, []string{here},
			[]string{"zmqpubhashblockhwm=10000", "zmqpubhashblockhwm=10000"},
		},
		"one elsewhere": {
			[]bitcoind.Notification{n("rawtx", here, 100_000), n("sequence", there, 100_000)}, []string{here},
			[]string{"published at", there + ", which is not in --zmq"},
		},
		"one elsewhere, and we know": {
			[]bitcoind.Notification{n("rawtx", here, 100_000), n("sequence", there, 100_000)}, []string{here, "tcp://127.0.0.1:28333"},
			[]string{"published at", "published at"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var p probe
			p.topics(Options{ZMQ: c.zmq}, c.published)
			if len(p.findings) != len(c.want) {
				t.Fatalf("got %v", p.findings)
			}
			for i, want := range c.want {
				if !strings.Contains(p.findings[i].Text, want) {
					t.Errorf("%q, want it to say %q", p.findings[i].Text, want)
				}
			}
		})
	}
}
