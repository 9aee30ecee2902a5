package node

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Metrics counts what comes from the node.
type Metrics struct {
	messages, badMessages, missed, repeated *prometheus.CounterVec
	resyncs, blocks                         *prometheus.CounterVec
	restarts, renewals, failures            prometheus.Counter
	deferred, backfilled, old               prometheus.Counter
	skipped, unread                         prometheus.Counter
	endpoints                               *prometheus.GaugeVec
	connected, inSync, zmqOnly, mempool     prometheus.Gauge
	lastMessage                             map[string]prometheus.Gauge // by topic
}

// missedChanges is what stands in the place of a topic for changes of the mempool that no message told.
const missedChanges = "mempool"

// NewMetrics registers with reg.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	with := promauto.With(reg)
	counter := func(name, help string) prometheus.Counter {
		return with.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	counters := func(name, help, label string) *prometheus.CounterVec {
		return with.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{label})
	}
	gauge := func(name, help string) prometheus.Gauge {
		return with.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
	}
	last := with.NewGaugeVec(prometheus.GaugeOpts{
		Name: "sightglass_node_last_message_timestamp_seconds", Help: "When the last message that was understood came, unix seconds; 0 before the first.",
	}, []string{"topic"})
	m := &Metrics{
		lastMessage: map[string]prometheus.Gauge{TopicRawTx: last.WithLabelValues(TopicRawTx), TopicSequence: last.WithLabelValues(TopicSequence)},
		messages:    counters("sightglass_node_messages_total", "Messages from the node that were understood.", "topic"),
		badMessages: counters("sightglass_node_bad_messages_total", "Messages from the node that were passed over, by what was wrong.", "reason"),
		missed:      counters("sightglass_node_missed_messages_total", "Messages that the node's counters show as sent and that did not arrive; topic mempool: changes that the mempool's own sequence shows.", "topic"),
		repeated:    counters("sightglass_node_repeated_messages_total", "Messages that came more than once.", "topic"),
		resyncs:     counters("sightglass_node_resyncs_total", "Times that the node's own list of its mempool was called for, by why.", "reason"),
		blocks:      counters("sightglass_node_blocks_total", "Blocks that the node connected and disconnected.", "change"),
		restarts:    counter("sightglass_node_restarts_total", "Times that the node began anew."),
		renewals:    counter("sightglass_node_renewals_total", "Times that the ZMQ socket was made anew because nothing came."),
		failures:    counter("sightglass_node_rpc_failures_total", "Questions that RPC gave no answer to, after all tries."),
		deferred:    counter("sightglass_node_held_transactions_total", "Transactions not believed to be new, as the node was loading or catching up."),
		backfilled:  counter("sightglass_node_filled_transactions_total", "Transactions that were asked for by RPC: at the start, after gaps, with blocks."),
		old:         counter("sightglass_node_old_transactions_total", "Transactions of blocks that are older than the window, or of unknown age."),
		connected:   gauge("sightglass_node_connected", "1 while a ZMQ connection is there."),
		endpoints: with.NewGaugeVec(prometheus.GaugeOpts{
			Name: "sightglass_node_endpoint_connected", Help: "1 while the connection to an endpoint of --zmq is there.",
		}, []string{"endpoint"}),
		inSync:  gauge("sightglass_node_in_step", "1 while the mempool is known to be the node's own; 0 without RPC, and while a gap is healed."),
		mempool: gauge("sightglass_node_mempool_transactions", "Transactions of the node's mempool that are known here."),
		skipped: counter("sightglass_node_skipped_transactions_total", "Transactions of the mempool that RPC did not give, after several tries."),
		unread:  counter("sightglass_node_skipped_blocks_total", "Blocks of the window that RPC did not give, after several tries."),
		zmqOnly: gauge("sightglass_node_zmq_alone", "1 while RPC gives no usable answer for 30 s or longer, and the node is listened to as without --rpc; 0 otherwise."),
	}
	// All series are there from the start, so that the first of its kind is seen as a rise.
	for _, topic := range []string{TopicRawTx, TopicSequence} {
		m.messages.WithLabelValues(topic)
		m.repeated.WithLabelValues(topic)
		m.missed.WithLabelValues(topic)
	}
	m.missed.WithLabelValues(missedChanges)
	for _, err := range []error{errFrames, errTopic, errCounter, errTransaction, errSequence} {
		m.badMessages.WithLabelValues(reason(err))
	}
	for _, why := range resyncReasons {
		m.resyncs.WithLabelValues(why)
	}
	for _, change := range []string{blockConnected, blockDisconnected} {
		m.blocks.WithLabelValues(change)
	}
	return m
}

// The labels of the metric blocks.
const (
	blockConnected    = "connected"
	blockDisconnected = "disconnected"
)

// Why the node's list of its mempool is called for, as labels of the metric resyncs.
const (
	whyConnected = "connected" // the ZMQ connection is there, or there again
	whyGap       = "gap"       // messages are missing
	whyRestart   = "restart"   // the node began anew
	whySilence   = "silence"   // nothing came for long
	whyPoll      = "poll"      // the node does not publish the topic sequence
	whyBlocks    = "blocks"    // the chain is not as we know it
	whyDrift     = "drift"     // the mempool's sequence went back
	whyMempool   = "mempool"   // the mempool's sequence has a gap
	whyClock     = "clock"     // this machine's clock was set
)

var resyncReasons = []string{whyConnected, whyGap, whyRestart, whySilence, whyPoll, whyBlocks, whyDrift, whyMempool, whyClock}
