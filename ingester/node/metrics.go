package node

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Metrics are the metrics of a Node.
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

// missedChanges is the label, in place of a topic, for changes of the mempool that no message reported.
const missedChanges = "mempool"

// NewMetrics registers the metrics with reg.
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
		Name: "sightglass_node_last_message_timestamp_seconds", Help: "When the last valid message was received, unix seconds; 0 before the first.",
	}, []string{"topic"})
	m := &Metrics{
		lastMessage: map[string]prometheus.Gauge{TopicRawTx: last.WithLabelValues(TopicRawTx), TopicSequence: last.WithLabelValues(TopicSequence)},
		messages:    counters("sightglass_node_messages_total", "Valid messages from the node.", "topic"),
		badMessages: counters("sightglass_node_bad_messages_total", "Malformed messages from the node, by what is wrong with them.", "reason"),
		missed:      counters("sightglass_node_missed_messages_total", "Messages that did not arrive, by the node's counters; topic mempool: changes of the mempool that no message reported, by the mempool's sequence.", "topic"),
		repeated:    counters("sightglass_node_repeated_messages_total", "Messages that were received repeatedly.", "topic"),
		resyncs:     counters("sightglass_node_resyncs_total", "Requests for the node's mempool list, by reason.", "reason"),
		blocks:      counters("sightglass_node_blocks_total", "Blocks that the node connected or disconnected.", "change"),
		restarts:    counter("sightglass_node_restarts_total", "Restarts of the node."),
		renewals:    counter("sightglass_node_renewals_total", "Times that the ZMQ socket was replaced because no messages were received."),
		failures:    counter("sightglass_node_rpc_failures_total", "RPC requests that failed after all retries."),
		deferred:    counter("sightglass_node_deferred_transactions_total", "Transactions that may be old, received while the node was loading its mempool or catching up; the backfill fetches them."),
		backfilled:  counter("sightglass_node_backfilled_transactions_total", "Transactions fetched over RPC: at the start, after gaps, with blocks."),
		old:         counter("sightglass_node_old_transactions_total", "Transactions of blocks that are older than the window, or whose age is unknown."),
		connected:   gauge("sightglass_node_connected", "1 while a ZMQ connection is up."),
		endpoints: with.NewGaugeVec(prometheus.GaugeOpts{
			Name: "sightglass_node_endpoint_connected", Help: "1 while the connection to an endpoint of --zmq is up.",
		}, []string{"endpoint"}),
		inSync:  gauge("sightglass_node_in_sync", "1 while our view of the mempool equals the node's; 0 without --rpc and during a resync."),
		mempool: gauge("sightglass_node_mempool_transactions", "Transactions in our view of the node's mempool."),
		skipped: counter("sightglass_node_skipped_transactions_total", "Transactions of the mempool that could not be fetched after several tries."),
		unread:  counter("sightglass_node_skipped_blocks_total", "Blocks of the window that could not be fetched after several tries."),
		zmqOnly: gauge("sightglass_node_zmq_only", "1 while RPC has failed for 30 s or longer, as a whole or for the transactions and blocks that are needed, so that only transactions received over ZMQ count; 0 otherwise."),
	}
	// Create all series at the start, so that the first event of a kind shows as an increase.
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

// The reasons for a resync, as labels of the metric resyncs.
const (
	whyConnected = "connected" // the ZMQ connection is up, or up again
	whyGap       = "gap"       // messages are missing
	whyRestart   = "restart"   // the node restarted
	whySilence   = "silence"   // no messages for Options.IdleTimeout
	whyPoll      = "poll"      // the node does not publish the topic sequence
	whyBlocks    = "blocks"    // the chain is not as known here
	whyDrift     = "drift"     // the mempool's sequence went back
	whyMempool   = "mempool"   // the mempool's sequence has a gap
	whyClock     = "clock"     // this machine's clock was set
)

var resyncReasons = []string{whyConnected, whyGap, whyRestart, whySilence, whyPoll, whyBlocks, whyDrift, whyMempool, whyClock}
