package bitcoind

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/btcsuite/btcd/chaincfg/chainhash"
)

// maxBatch is how many calls go in one request. The node works on a batch in one of its threads from end to end, so a
// larger one would save little and keep others waiting; and maxAnswer holds this many transactions of any size.
const maxBatch = 250

// A PartialError says which of several transactions could not be had, each by itself. What came for the others is good.
type PartialError struct {
	Failed map[int]error // by the index of the id that was asked for
	Asked  int
}

func (e *PartialError) Error() string {
	return fmt.Sprintf("%d of %d could not be had: %v", len(e.Failed), e.Asked, e.Unwrap()[0])
}

// Unwrap gives what was wrong with each, in their order.
func (e *PartialError) Unwrap() []error {
	var all []error
	for _, i := range slices.Sorted(maps.Keys(e.Failed)) {
		all = append(all, e.Failed[i])
	}
	return all
}

// some gives list with err, unless err says that it is of no use.
func partialResult[T any](list []T, err error) ([]T, error) {
	if _, partial := errors.AsType[*PartialError](err); err != nil && !partial {
		return nil, err
	}
	return list, err
}

// askEach calls a method for each id, in batches, with the id as its one parameter. It hands results to use, by their
// index in ids; those that the node does not find (-5) it leaves out. An error about the node ends it all; errors about
// single ids, use's among them, come as a PartialError when the others are done.
func invokeEach[T any](ctx context.Context, c *Client, method string, ids []chainhash.Hash, use func(int, T) error) error {
	failed := make(map[int]error)
	for from := 0; from < len(ids); from += maxBatch {
		part := ids[from:min(from+maxBatch, len(ids))]
		first := c.ids.Add(uint64(len(part))) - uint64(len(part)) + 1
		requests := make([]request, len(part))
		for i, id := range part {
			requests[i] = newRequest(first+uint64(i), method, []any{id})
		}
		err := c.do(ctx, method, requests, func(in *bufio.Reader) error {
			answers, err := decodeBatch[item[T]](in, first, len(part))
			if err == nil {
				err = nodeError(answers)
			}
			if err != nil {
				return err
			}
			for i, a := range answers {
				if a.Error != nil {
					a.Error.Method = method
				}
				if err := useItem(a, func(result T) error { return use(from+i, result) }); err != nil {
					failed[from+i] = fmt.Errorf("%v: %w", part[i], err)
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	if len(failed) > 0 {
		return fmt.Errorf("bitcoind at %s: %s: %w", c.opts.URL, method, &PartialError{Failed: failed, Asked: len(ids)})
	}
	return nil
}

// An item is a result that is decoded by itself, so that one that is wrong does no harm to the others of its batch.
type item[T any] struct {
	result T
	err    error
}

// UnmarshalJSON keeps the error for later.
func (i *item[T]) UnmarshalJSON(text []byte) error {
	if own, ok := any(&i.result).(json.Unmarshaler); ok { // it was found to be JSON already
		i.err = own.UnmarshalJSON(text)
	} else {
		i.err = json.Unmarshal(text, &i.result)
	}
	return nil
}

// aboutNode gives the first error that is not about one id alone.
func nodeError[T any](answers []response[T]) error {
	for _, a := range answers {
		if a.Error != nil && !AboutOne(a.Error.classify()) {
			return a.Error
		}
	}
	return nil
}

func useItem[T any](a response[item[T]], use func(T) error) error {
	switch {
	case a.Error != nil && a.Error.Code == codeNotFound:
		return nil
	case a.Error != nil:
		return a.Error.classify()
	}
	err := a.Result.err
	if err == nil {
		err = use(a.Result.result)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", badAnswer, err)
	}
	return nil
}

// decodeBatch reads the answers to the n calls from id first on. They come in any order, and go into that of the calls.
func decodeBatch[T any](in *bufio.Reader, first uint64, n int) ([]response[T], error) {
	if err := rejectSingle(in); err != nil {
		return nil, err
	}
	var answers []response[T]
	if err := decode(in, &answers); err != nil {
		return nil, err
	}
	if len(answers) != n {
		return nil, fmt.Errorf("%d answers in it to %d calls", len(answers), n)
	}
	ordered := make([]response[T], n)
	for _, a := range answers {
		if a.ID == nil || *a.ID-first >= uint64(n) || ordered[*a.ID-first].ID != nil {
			return nil, errors.New("an id in it is of another call, or there twice")
		}
		ordered[*a.ID-first] = a
	}
	return ordered, nil
}

// refuseOne deals with a single answer to the whole batch: an error that came before the node looked into it.
func rejectSingle(in *bufio.Reader) error {
	if head, _ := in.Peek(1); len(head) == 0 || head[0] != '{' {
		return nil // what is wrong with reading, the next read says again
	}
	if _, err := decodeResponse[any](in, 0); err != nil {
		return err
	}
	return errors.New("one answer to a batch")
}
