package node

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/btcsuite/btcd/wire"

	"sightglass/ingester/rawtx"
	"sightglass/ingester/transcript"
)

// The topics of bitcoind that the ingester subscribes to. A ZMQ subscription matches by prefix, so decode still compares
// a message's whole topic.
const (
	TopicRawTx    = transcript.TopicRawTx    // each transaction that enters the mempool, and each transaction of a block
	TopicSequence = transcript.TopicSequence // additions to (A) and removals from (R) the mempool; blocks connected (C) and disconnected (D)
)

// The errors of decode. Each is a label of the metric bad_messages.
var (
	errFrames      = errors.New("not three frames")
	errTopic       = errors.New("unknown topic")
	errCounter     = errors.New("counter is not 4 bytes")
	errTransaction = errors.New("body is not a transaction")
	errSequence    = transcript.ErrSequence
)

// A message is one ZMQ notification of bitcoind: topic, body, and the topic's own counter.
type message struct {
	topic   string
	counter uint32
	at      time.Time
	id      chainhash.Hash // of the transaction, or of the block that connects or disconnects
	tx      *wire.MsgTx    // of rawtx
	letter  byte           // of sequence: transcript.Added, Removed, Connected or Disconnected
	number  uint64         // of Added and Removed: the mempool's count of its changes
}

// decode checks the three frames of a notification and parses its body. It trusts nothing in frames. A message returned
// with an error may still have its topic and counter.
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

func (m *message) decodeSequence(body []byte) error {
	s, err := transcript.ParseSequence(body)
	if err != nil {
		return err
	}
	m.id, m.letter, m.number = s.Hash, s.Letter, s.Number
	return nil
}

// reason returns the metric label for an error of decode.
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
