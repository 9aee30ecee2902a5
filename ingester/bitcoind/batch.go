package bitcoind

import (
	"bufio"
	"context"
	"errors"
	"fmt"

	"github.com/btcsuite/btcd/chaincfg/chainhash"
)

// maxBatch is how many calls go in one request. The node works on a batch in one of its threads from end to end, so a
// larger one would save little and keep others waiting; and maxAnswer holds this many transactions of any size.
const maxBatch = 250

// askEach calls a method for each id, in batches, with the id as its one parameter. It hands results to use, by their
// index in ids; those that the node does not find (-5) it leaves out. Any other error ends it all.
func askEach[T any](ctx context.Context, c *Client, method string, ids []chainhash.Hash, use func(int, T) error) error {
	for from := 0; from < len(ids); from += maxBatch {
		part := ids[from:min(from+maxBatch, len(ids))]
		first := c.ids.Add(uint64(len(part))) - uint64(len(part)) + 1
		requests := make([]request, len(part))
		for i, id := range part {
			requests[i] = newRequest(first+uint64(i), method, []any{id})
		}
		err := c.do(ctx, method, requests, func(in *bufio.Reader) error {
			answers, err := decodeBatch[T](in, first, len(part))
			if err != nil {
				return err
			}
			return useEach(answers, func(i int, result T) error { return use(from+i, result) })
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func useEach[T any](answers []answer[T], use func(int, T) error) error {
	for i, a := range answers {
		switch {
		case a.Error == nil:
			if err := use(i, a.Result); err != nil {
				return err
			}
		case a.Error.Code != codeNotFound:
			return a.Error
		}
	}
	return nil
}

// decodeBatch reads the answers to the n calls from id first on. They come in any order, and go into that of the calls.
func decodeBatch[T any](in *bufio.Reader, first uint64, n int) ([]answer[T], error) {
	if err := refuseOne(in); err != nil {
		return nil, err
	}
	var answers []answer[T]
	if err := decode(in, &answers); err != nil {
		return nil, err
	}
	if len(answers) != n {
		return nil, fmt.Errorf("%d answers in it to %d calls", len(answers), n)
	}
	ordered := make([]answer[T], n)
	for _, a := range answers {
		if a.ID == nil || *a.ID-first >= uint64(n) || ordered[*a.ID-first].ID != nil {
			return nil, errors.New("an id in it is of another call, or there twice")
		}
		ordered[*a.ID-first] = a
	}
	return ordered, nil
}

// refuseOne deals with a single answer to the whole batch: an error that came before the node looked into it.
func refuseOne(in *bufio.Reader) error {
	if head, _ := in.Peek(1); len(head) == 0 || head[0] != '{' {
		return nil // what is wrong with reading, the next read says again
	}
	if _, err := decodeAnswer[any](in, 0); err != nil {
		return err
	}
	return errors.New("one answer to a batch")
}
