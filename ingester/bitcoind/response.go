package bitcoind

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/btcsuite/btcd/chaincfg/chainhash"
)

// An answer is what comes back for one call. Of Result and Error one is null or absent.
type response[T any] struct {
	ID     *uint64 `json:"id"`
	Result T       `json:"result"`
	Error  *Error  `json:"error"`
}

// ask calls a method and has use make of the result what is wanted; its error says what is wrong with the result. One
// that is null or not there comes as the zero T.
func invoke[T, R any](ctx context.Context, c *Client, use func(T) (R, error), method string, params ...any) (R, error) {
	var wanted R
	id := c.ids.Add(1)
	err := c.do(ctx, method, newRequest(id, method, params), func(in *bufio.Reader) error {
		result, err := decodeResponse[T](in, id)
		if err != nil {
			return err
		}
		wanted, err = use(result)
		return err
	})
	return wanted, err
}

// decodeAnswer reads the answer to call id.
func decodeResponse[T any](in io.Reader, id uint64) (T, error) {
	var a response[T]
	err := decode(in, &a)
	switch {
	case err != nil:
	case a.Error != nil: // its id is null where the node could not read ours
		err = a.Error
	case a.ID == nil || *a.ID != id:
		err = errors.New("it is for another call")
	}
	return a.Result, err
}

// decode reads one JSON value and nothing after it, which also leaves the connection fit for the next call.
func decode(in io.Reader, into any) error {
	d := json.NewDecoder(in)
	if err := d.Decode(into); err != nil {
		return explain(err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more follows where it should end")
	}
	return nil
}

// plain puts it in words where encoding/json does not.
func explain(err error) error {
	switch {
	case errors.Is(err, io.EOF):
		return errors.New("it is empty")
	case err == io.ErrUnexpectedEOF: //nolint:errorlint // the decoder's own; a connection's is wrapped
		return errors.New("it breaks off")
	}
	return err
}

// A txid is a transaction's or a block's hash. chainhash's own UnmarshalJSON takes several times as long, and accepts
// fewer digits.
type txid chainhash.Hash

// UnmarshalJSON takes 64 hex digits in quotes, in the order in which people write them: the bytes backwards.
func (t *txid) UnmarshalJSON(text []byte) error {
	if len(text) != 2+2*chainhash.HashSize || text[0] != '"' {
		return fmt.Errorf("%.80s is no hash: want %d hex digits", text, 2*chainhash.HashSize)
	}
	if _, err := hex.Decode(t[:], text[1:len(text)-1]); err != nil {
		return fmt.Errorf("%s is no hash: %w", text, err)
	}
	slices.Reverse(t[:])
	return nil
}

// txids are decoded in one go: one by one, encoding/json would scan each of them again.
type txids []chainhash.Hash

// UnmarshalJSON takes an array of hashes. That it is JSON has been seen to; a comma can only be between two of them.
func (t *txids) UnmarshalJSON(text []byte) error {
	if text[0] != '[' {
		return fmt.Errorf("%.80s is no array of hashes", text)
	}
	*t = make(txids, 0, len(text)/(2+2*chainhash.HashSize))
	text = bytes.TrimSpace(text[1 : len(text)-1])
	if len(text) == 0 {
		return nil
	}
	for one := range bytes.SplitSeq(text, []byte{','}) {
		var hash txid
		if err := hash.UnmarshalJSON(bytes.TrimSpace(one)); err != nil {
			return err
		}
		*t = append(*t, chainhash.Hash(hash))
	}
	return nil
}

// A hexBytes is what bitcoind writes in hex: a transaction, a block.
type hexBytes []byte

// UnmarshalJSON takes hex digits in quotes, and null, which comes with an error: that is none.
func (h *hexBytes) UnmarshalJSON(text []byte) error {
	if string(text) == "null" {
		return nil
	}
	if len(text) < 2 || text[0] != '"' {
		return fmt.Errorf("%.80s is no string of hex digits", text)
	}
	text = text[1 : len(text)-1]
	*h = make([]byte, hex.DecodedLen(len(text)))
	_, err := hex.Decode(*h, text)
	return err
}
