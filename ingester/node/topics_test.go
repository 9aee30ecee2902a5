package node

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"sightglass/ingester/bitcoind"
)

// TestNode_WarnsOfTopicAtAnotherPort: the log warns of a topic that is published at another port only if none of its
// messages arrive while the other topic's do.
func TestNode_WarnsOfTopicAtAnotherPort(t *testing.T) {
	const mapped, address = "tcp://node:38332", "tcp://0.0.0.0:28333"
	published := []bitcoind.Notification{
		{Topic: TopicRawTx, Address: "tcp://0.0.0.0:28332"}, {Topic: TopicSequence, Address: address},
	}
	for name, c := range map[string]struct {
		received []string
		after    time.Duration
		want     int
	}{
		"both":                         {[]string{TopicRawTx, TopicSequence}, 2 * unclearTimeout, 0},
		"rawtx only":                   {[]string{TopicRawTx}, 2 * unclearTimeout, 1},
		"rawtx only, for a short time": {[]string{TopicRawTx}, unclearTimeout / 2, 0},
		"an idle node":                 {nil, 2 * unclearTimeout, 0},
		"sequence only":                {[]string{TopicSequence}, 2 * unclearTimeout, 1},
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			start := time.Unix(1e9, 0)
			n := newTracker(Options{ZMQ: []string{mapped}, Log: slog.New(slog.NewTextHandler(&log, nil))}, nil)
			n.chain.published = published
			n.warnOfTopics(start)
			for _, topic := range c.received {
				n.link.topics[topic] = struct{}{}
			}
			n.checkTopics(start.Add(c.after))
			n.checkTopics(start.Add(c.after + time.Hour))
			got := strings.Count(log.String(), "no messages of a topic")
			if c.after < unclearTimeout {
				got-- // logged an hour later
			}
			if got != c.want {
				t.Errorf("got %d warnings, want %d:\n%s", got, c.want, log.String())
			}
		})
	}
}
