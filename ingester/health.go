package ingester

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"sightglass/shared/contract"
)

// liveWithin is the longest time that the compute loop may take for one snapshot. It exceeds the timeouts of all steps
// at the start together.
const liveWithin = 30 * time.Second

// live returns an error if the compute loop hangs, which only a restart ends.
func (in *Ingester) live() error {
	if still := time.Since(in.began) - time.Duration(in.ticked.Load()); still > liveWithin {
		return fmt.Errorf("no snapshot was computed for %v", still.Round(time.Second))
	}
	return nil
}

// ready returns an error while the ingester publishes nothing, or less than its options promise. A restart does not
// help.
func (in *Ingester) ready() error {
	if in.peers != nil && in.peers.Connected() < in.peers.Quorum() {
		return fmt.Errorf("%d of %d peers are connected, and a transaction counts when %d have announced it", in.peers.Connected(), in.peers.Wanted(), in.peers.Quorum())
	}
	if err := in.nodeReady(); err != nil {
		return err
	}
	if in.publisher.Age() > contract.ReadyWithin {
		text := fmt.Sprintf("redis has neither accepted a snapshot for over %v nor named another leader", contract.ReadyWithin)
		if why := in.publisher.LastError(); why != nil {
			text += ": " + why.Error()
		}
		return errors.New(text)
	}
	return nil
}

// nodeReady returns an error while the node gives less than the options promise; nil without a node.
func (in *Ingester) nodeReady() error {
	if in.node == nil {
		return nil
	}
	unconnected := in.unconnected()
	switch {
	case !in.node.Connected():
		return errors.New("not connected to the node")
	case unconnected != nil:
		return unconnected
	case in.node.ZMQOnly():
		return errors.New("the node's RPC returns no usable response: the price is based on ZMQ alone, and gaps stay open; see the log")
	}
	return nil
}

// unconnected returns an error that names an endpoint of --zmq without a connection; nil if there is none.
func (in *Ingester) unconnected() error {
	for _, link := range in.node.Links() {
		if err := link.Error(); err != nil {
			return err
		}
	}
	return nil
}

// probeHandler responds with ok, or with 503 and the error of check.
func probeHandler(check func() error) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		if err := check(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		io.WriteString(w, "ok\n") //nolint:errcheck // the client may be gone
	}
}
