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

// A response is the result of one call. One of Result and Error is null or absent.
type response[T any] struct {
	ID     *uint64 `json:"id"`
	Result T       `json:"result"`
	Error  *Error  `json:"error"`
}

// invoke calls a method and converts the result with use, whose error says what is wrong with it. A null or absent
// result is passed as the zero T.
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

// decodeResponse reads the response to call id.
func decodeResponse[T any](in io.Reader, id uint64) (T, error) {
	var a response[T]
	err := decode(in, &a)
	switch {
	case err != nil:
	case a.Error != nil: // its id is null if the node could not read ours
		err = a.Error
	case a.ID == nil || *a.ID != id:
		err = errors.New("the response is for another call")
	}
	return a.Result, err
}

// decode reads one JSON value and the end of the body, which makes the connection reusable.
func decode(in io.Reader, into any) error {
	d := json.NewDecoder(in)
	if err := d.Decode(into); err != nil {
		return explain(err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("data after the end of the response")
	}
	return nil
}

// explain replaces the errors of encoding/json that say too little.
func explain(err error) error {
	switch {
	case errors.Is(err, io.EOF):
		return errors.New("the response is empty")
	case err == io.ErrUnexpectedEOF: //nolint:errorlint // the decoder's own; a connection's is wrapped
		return errors.New("the response is truncated")
	}
	return err
}

// A txid is the hash of a transaction or a block. UnmarshalJSON of chainhash takes several times as long, and accepts
// fewer digits.
type txid chainhash.Hash

// UnmarshalJSON accepts 64 hex digits in quotes, in display order: the bytes reversed.
func (t *txid) UnmarshalJSON(text []byte) error {
	if len(text) != 2+2*chainhash.HashSize || text[0] != '"' {
		return fmt.Errorf("%.80s is not a hash: want %d hex digits", text, 2*chainhash.HashSize)
	}
	if _, err := hex.Decode(t[:], text[1:len(text)-1]); err != nil {
		return fmt.Errorf("%s is not a hash: %w", text, err)
	}
	slices.Reverse(t[:])
	return nil
}

// txids are decoded in one pass: one by one, encoding/json would scan each of them again.
type txids []chainhash.Hash

// UnmarshalJSON accepts an array of hashes. The decoder has checked that it is JSON; a comma can only separate two
// hashes.
func (t *txids) UnmarshalJSON(text []byte) error {
	if text[0] != '[' {
		return fmt.Errorf("%.80s is not an array of hashes", text)
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

// A hexBytes is a transaction or a block in hex.
type hexBytes []byte

// UnmarshalJSON accepts hex digits in quotes, and null, which comes with an error and decodes to nil.
func (h *hexBytes) UnmarshalJSON(text []byte) error {
	if string(text) == "null" {
		return nil
	}
	if len(text) < 2 || text[0] != '"' {
		return fmt.Errorf("%.80s is not a string of hex digits", text)
	}
	text = text[1 : len(text)-1]
	*h = make([]byte, hex.DecodedLen(len(text)))
	_, err := hex.Decode(*h, text)
	return err
}

// hexResult decodes the hex of a response in place, if the response has bitcoind's very form: {"result":"HEX","error":null,
// "id":N} without spaces, and the right ID. encoding/json takes several times as long for the megabytes of a block. ok is
// false for a response of another form, which is unchanged.
func hexResult(body []byte, id uint64) (raw []byte, ok bool, err error) {
	text, ok := bytes.CutPrefix(bytes.TrimSpace(body), []byte(`{"result":"`))
	if !ok {
		return nil, false, nil
	}
	if text, ok = bytes.CutSuffix(text, fmt.Appendf(nil, `","error":null,"id":%d}`, id)); !ok {
		return nil, false, nil
	}
	n, err := hex.Decode(text, text)
	return text[:n], true, err
}
