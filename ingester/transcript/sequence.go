package transcript

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/btcsuite/btcd/chaincfg/chainhash"
)

// The letters of the topic sequence.
const (
	Added        = 'A' // a transaction, to the mempool
	Removed      = 'R' // a transaction, from the mempool and not by a block
	Connected    = 'C' // a block, to the chain
	Disconnected = 'D' // a block, from the chain
)

// A Sequence is a notification of the topic sequence.
type Sequence struct {
	Hash   chainhash.Hash // of the transaction or the block
	Letter byte
	Number uint64 // of Added and Removed: the mempool's count of its changes
}

// ErrSequence is wrapped by every error of ParseSequence.
var ErrSequence = errors.New("not a sequence notification")

// ParseSequence parses the body of a notification of the topic sequence. It trusts nothing in body.
func ParseSequence(body []byte) (Sequence, error) {
	var s Sequence
	if len(body) <= chainhash.HashSize {
		return s, fmt.Errorf("%w: %d bytes", ErrSequence, len(body))
	}
	for i, b := range body[:chainhash.HashSize] { // sent in display order, the reverse of the order in memory
		s.Hash[chainhash.HashSize-1-i] = b
	}
	s.Letter = body[chainhash.HashSize]
	number := body[chainhash.HashSize+1:]
	switch {
	case s.ofMempool() && len(number) == 8:
		s.Number = binary.LittleEndian.Uint64(number)
	case s.ofChain() && len(number) == 0:
	default:
		return s, fmt.Errorf("%w: letter %q and %d bytes", ErrSequence, s.Letter, len(number))
	}
	return s, nil
}

// Body returns the body that ParseSequence parses.
func (s Sequence) Body() []byte {
	body := make([]byte, 0, chainhash.HashSize+9)
	for i := range s.Hash {
		body = append(body, s.Hash[chainhash.HashSize-1-i])
	}
	body = append(body, s.Letter)
	if s.ofMempool() {
		body = binary.LittleEndian.AppendUint64(body, s.Number)
	}
	return body
}

func (s Sequence) ofMempool() bool { return s.Letter == Added || s.Letter == Removed }
func (s Sequence) ofChain() bool   { return s.Letter == Connected || s.Letter == Disconnected }
