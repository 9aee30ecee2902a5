package node

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/btcsuite/btcd/chaincfg/chainhash"

	"sightglass/ingester/rawtx"
)

// The topics of bitcoind's that we subscribe to. A ZMQ subscription matches by prefix, so a message's topic is
// compared as a whole all the same.
const (
	TopicRawTx    = "rawtx"    // every transaction that enters the mempool, and every one of a block
	TopicSequence = "sequence" // what enters (A) and leaves (R) the mempool, blocks that connect (C) and disconnect (D)
)

// What can be wrong with a message. Each is a label of the metric bad_messages.
var (
	errFrames      = errors.New("not three frames")
	errTopic       = errors.New("unknown topic")
	errCounter     = errors.New("counter is not 4 bytes")
	errTransaction = errors.New("body is no transaction")
	errSequence    = errors.New("body is no sequence notification")
)

// A message is one notification of bitcoind's: topic, body, and the topic's own counter.
type message struct {
	topic   string
	counter uint32
	event   Event
	empty   bool // valid, but nothing that the stream of events has a word for
}

// decode checks the three frames of a notification and parses its body. Nothing in frames is trusted.
func decode(frames [][]byte) (message, error) {
	if len(frames) != 3 {
		return message{}, fmt.Errorf("%w but %d", errFrames, len(frames))
	}
	if len(frames[2]) != 4 {
		return message{}, fmt.Errorf("%w but %d", errCounter, len(frames[2]))
	}
	m := message{topic: string(frames[0]), counter: binary.LittleEndian.Uint32(frames[2])}
	var err error
	switch m.topic {
	case TopicRawTx:
		m.event, err = decodeRawTx(frames[1])
	case TopicSequence:
		m.event, m.empty, err = decodeSequence(frames[1])
	default:
		return message{}, fmt.Errorf("%w %q", errTopic, frames[0][:min(len(frames[0]), 20)])
	}
	return m, err
}

func decodeRawTx(body []byte) (Event, error) {
	tx, err := rawtx.Decode(body)
	if err != nil {
		return Event{}, fmt.Errorf("%w: %w", errTransaction, err)
	}
	return Event{Kind: Seen, ID: tx.TxHash(), Tx: tx}, nil
}

// Lengths of a sequence notification: a hash and a letter, and for the mempool's letters its sequence number.
const (
	blockNotification   = chainhash.HashSize + 1
	mempoolNotification = blockNotification + 8
)

// decodeSequence takes the removals out of the sequence topic: additions come as rawtx. The hash is in the order in
// which it is shown, the reverse of the one in which it is hashed.
func decodeSequence(body []byte) (ev Event, empty bool, err error) {
	if len(body) < blockNotification {
		return ev, false, fmt.Errorf("%w: %d bytes", errSequence, len(body))
	}
	letter, size := body[chainhash.HashSize], mempoolNotification
	switch letter {
	case 'A', 'R':
	case 'C', 'D':
		size = blockNotification
	default:
		return ev, false, fmt.Errorf("%w: letter %q", errSequence, letter)
	}
	if len(body) != size {
		return ev, false, fmt.Errorf("%w: %d bytes for %c, not %d", errSequence, len(body), letter, size)
	}
	if letter != 'R' {
		return ev, true, nil
	}
	for i, b := range body[:chainhash.HashSize] {
		ev.ID[chainhash.HashSize-1-i] = b
	}
	ev.Kind = Gone
	return ev, false, nil
}

// reason is the metric label of decode's error.
func reason(err error) string {
	switch {
	case errors.Is(err, errFrames):
		return "frames"
	case errors.Is(err, errTopic):
		return "topic"
	case errors.Is(err, errCounter):
		return "counter"
	case errors.Is(err, errTransaction):
		return "transaction"
	default:
		return "sequence"
	}
}
