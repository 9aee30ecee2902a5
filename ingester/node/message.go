package node

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/btcsuite/btcd/wire"

	"sightglass/ingester/rawtx"
)

// The topics of bitcoind's that we subscribe to. A ZMQ subscription matches by prefix, so a message's topic is
// compared as a whole all the same.
const (
	TopicRawTx    = "rawtx"    // every transaction that enters the mempool, and every one of a block
	TopicSequence = "sequence" // what enters (A) and leaves (R) the mempool, blocks that connect (C) and disconnect (D)
)

// The letters of the topic sequence.
const (
	added        = 'A' // to the mempool
	removed      = 'R' // from the mempool, other than by a block
	connected    = 'C' // a block
	disconnected = 'D' // a block
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
	at      time.Time
	id      chainhash.Hash // of the transaction, or of the block that connects or disconnects
	tx      *wire.MsgTx    // of rawtx
	letter  byte           // of sequence: A, R, C or D
	number  uint64         // of A and R: the mempool's own count of its changes
}

// decode checks the three frames of a notification and parses its body. Nothing in frames is trusted. With an error
// the message may still have its topic and counter.
func decode(frames [][]byte) (message, error) {
	if len(frames) != 3 {
		return message{}, fmt.Errorf("%w but %d", errFrames, len(frames))
	}
	if len(frames[2]) != 4 {
		return message{}, fmt.Errorf("%w but %d", errCounter, len(frames[2]))
	}
	m := message{topic: string(frames[0]), counter: binary.LittleEndian.Uint32(frames[2])}
	switch m.topic {
	case TopicRawTx:
		return m, m.decodeRawTx(frames[1])
	case TopicSequence:
		return m, m.decodeSequence(frames[1])
	default:
		return message{}, fmt.Errorf("%w %q", errTopic, frames[0][:min(len(frames[0]), 20)])
	}
}

func (m *message) decodeRawTx(body []byte) error {
	tx, err := rawtx.Decode(body)
	if err != nil {
		return fmt.Errorf("%w: %w", errTransaction, err)
	}
	m.id, m.tx = tx.TxHash(), tx
	return nil
}

// Lengths of a sequence notification: a hash and a letter, and for the mempool's letters its sequence number.
const (
	blockNotification   = chainhash.HashSize + 1
	mempoolNotification = blockNotification + 8
)

// decodeSequence parses a notification of the sequence topic. Its hash is in the order in which it is shown, the
// reverse of the one in which it is hashed.
func (m *message) decodeSequence(body []byte) error {
	if len(body) < blockNotification {
		return fmt.Errorf("%w: %d bytes", errSequence, len(body))
	}
	letter, size := body[chainhash.HashSize], mempoolNotification
	switch letter {
	case added, removed:
	case connected, disconnected:
		size = blockNotification
	default:
		return fmt.Errorf("%w: letter %q", errSequence, letter)
	}
	if len(body) != size {
		return fmt.Errorf("%w: %d bytes for %c, not %d", errSequence, len(body), letter, size)
	}
	for i, b := range body[:chainhash.HashSize] {
		m.id[chainhash.HashSize-1-i] = b
	}
	m.letter = letter
	if size == mempoolNotification {
		m.number = binary.LittleEndian.Uint64(body[blockNotification:])
	}
	return nil
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
