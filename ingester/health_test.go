package ingester

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sightglass/ingester/node"
	"sightglass/ingester/replay"
	"sightglass/shared/contract"
)

// TestReady_UnusableRPC: an ingester with an unusable --rpc is not ready and reports the cause. Without --rpc it is
// ready.
func TestReady_UnusableRPC(t *testing.T) {
	for name, c := range map[string]struct{ rpc, want string }{
		"no server": {"http://127.0.0.1:1", "the node's RPC returns no usable response"},
		"no --rpc":  {"", "redis has neither accepted a snapshot"}, // the check after the node's
	} {
		t.Run(name, func(t *testing.T) {
			replayed := newNextTo(t, mempoolOf(t, 1, time.Second), replay.NodeOptions{}, false).node
			defer replayed.Close()
			o := Defaults()
			o.ZMQ, o.RPC, o.Redis = []string{replayed.Endpoint()}, c.rpc, "redis://127.0.0.1:1"
			if c.rpc != "" {
				o.RPCUser, o.RPCPassword = "u", "p"
			}
			in, err := New(o)
			if err != nil {
				t.Fatal(err)
			}
			in.node, err = node.New(node.Options{
				ZMQ: o.ZMQ, RPC: in.rpc, Window: contract.Window, Log: in.log, ZMQOnlyAfter: 100 * time.Millisecond,
			}, node.NewMetrics(prometheus.NewRegistry()))
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- in.node.Run(ctx, make(chan node.Event, maxPending)) }()
			defer func() {
				cancel()
				if err := <-ended; err != nil {
					t.Error(err)
				}
			}()
			deadline := time.After(20 * time.Second)
			again := time.NewTicker(time.Millisecond)
			defer again.Stop()
			for {
				err := in.ready()
				if err != nil && strings.Contains(err.Error(), c.want) {
					return
				}
				select {
				case <-again.C:
				case <-deadline:
					t.Fatalf("got %v from /readyz, want %q", err, c.want)
				}
			}
		})
	}
}
