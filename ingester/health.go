package ingester

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"sightglass/shared/contract"
)

// liveWithin is how long the compute loop may stand still: more than the steps that it waits for at its start take
// together.
const liveWithin = 30 * time.Second

// live says what is wrong if only a restart helps.
func (in *Ingester) live() error {
	if still := time.Since(in.began) - time.Duration(in.ticked.Load()); still > liveWithin {
		return fmt.Errorf("no snapshot was computed for %v", still.Round(time.Second))
	}
	return nil
}

// ready says why nothing good comes from this ingester now, or not all that its options promise. A restart does not help
// against any of that.
func (in *Ingester) ready() error {
	unconnected := in.unconnected()
	switch {
	case !in.node.Connected():
		return errors.New("not connected to the node")
	case unconnected != nil:
		return unconnected
	case in.node.ZMQOnly():
		return errors.New("the node's RPC gives no usable answer: the price comes from ZMQ alone, with gaps left open; the log says why")
	case in.publisher.Age() > contract.ReadyWithin:
		text := fmt.Sprintf("redis has taken no snapshot for over %v, nor said that it is another ingester's turn", contract.ReadyWithin)
		if why := in.publisher.LastError(); why != nil {
			text += ": " + why.Error()
		}
		return errors.New(text)
	}
	return nil
}

// unconnected names an endpoint of --zmq without a connection: what is published there alone does not come.
func (in *Ingester) unconnected() error {
	for _, link := range in.node.Links() {
		if err := link.Error(); err != nil {
			return err
		}
	}
	return nil
}

// answerProbe answers ok, or 503 and what is wrong.
func answerProbe(wrong func() error) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		if err := wrong(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		io.WriteString(w, "ok\n") //nolint:errcheck // whoever asked has gone
	}
}
