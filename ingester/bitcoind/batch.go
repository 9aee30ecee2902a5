package bitcoind

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// maxBatch is how many calls one request carries. The node processes a batch in one of its threads, so a larger one
// saves little and delays other clients; maxResponse holds this many transactions of any size.
const maxBatch = 250

// A PartialError reports which of several transactions or blocks could not be fetched. The results for the others are valid.
type PartialError struct {
	Failed map[int]error // by the index of the requested ID
	Asked  int
}

func (e *PartialError) Error() string {
	return fmt.Sprintf("%d of %d could not be fetched: %v", len(e.Failed), e.Asked, e.Unwrap()[0])
}

// Unwrap returns the errors in the order of the IDs.
func (e *PartialError) Unwrap() []error {
	var all []error
	for _, i := range slices.Sorted(maps.Keys(e.Failed)) {
		all = append(all, e.Failed[i])
	}
	return all
}

// partialResult returns list with err, or nil unless err is nil or a PartialError.
func partialResult[T any](list []T, err error) ([]T, error) {
	if _, partial := errors.AsType[*PartialError](err); err != nil && !partial {
		return nil, err
	}
	return list, err
}

// invokeEach calls a method for each ID, in batches, with the ID as its first parameter and others after it. It passes results to use, with
// their index in ids, and omits those that the node does not find (-5). An error about the node ends it. Errors about
// single IDs, those of use among them, are returned as a PartialError after the others are done.
func invokeEach[T, ID any](ctx context.Context, c *Client, method string, ids []ID, use func(int, T) error, others ...any) error {
	failed := make(map[int]error)
	for from := 0; from < len(ids); from += maxBatch {
		part := ids[from:min(from+maxBatch, len(ids))]
		first := c.ids.Add(uint64(len(part))) - uint64(len(part)) + 1
		requests := make([]request, len(part))
		for i, id := range part {
			requests[i] = newRequest(first+uint64(i), method, append([]any{id}, others...))
		}
		err := c.do(ctx, method, requests, func(in *bufio.Reader) error {
			responses, err := decodeBatch[item[T]](in, first, len(part))
			if err == nil {
				err = nodeError(responses)
			}
			if err != nil {
				return err
			}
			for i, a := range responses {
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

// An item is a result that is decoded by itself, so that a malformed one does not affect the others of its batch.
type item[T any] struct {
	result T
	err    error
}

// UnmarshalJSON stores the error for later.
func (i *item[T]) UnmarshalJSON(text []byte) error {
	if own, ok := any(&i.result).(json.Unmarshaler); ok { // the decoder has checked that it is JSON
		i.err = own.UnmarshalJSON(text)
	} else {
		i.err = json.Unmarshal(text, &i.result)
	}
	return nil
}

// nodeError returns the first error that is not about one ID alone.
func nodeError[T any](responses []response[T]) error {
	for _, a := range responses {
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
		return fmt.Errorf("%w: %w", badResponse, err)
	}
	return nil
}

// decodeBatch reads the responses to the n calls with IDs from first on, in any order, and sorts them by call.
func decodeBatch[T any](in *bufio.Reader, first uint64, n int) ([]response[T], error) {
	if err := rejectSingle(in); err != nil {
		return nil, err
	}
	var responses []response[T]
	if err := decode(in, &responses); err != nil {
		return nil, err
	}
	if len(responses) != n {
		return nil, fmt.Errorf("%d responses to %d calls", len(responses), n)
	}
	ordered := make([]response[T], n)
	for _, a := range responses {
		if a.ID == nil || *a.ID-first >= uint64(n) || ordered[*a.ID-first].ID != nil {
			return nil, errors.New("the id of a response is of another call, or occurs twice")
		}
		ordered[*a.ID-first] = a
	}
	return ordered, nil
}

// rejectSingle handles a single response to the whole batch: an error from before the node parsed the batch.
func rejectSingle(in *bufio.Reader) error {
	if head, _ := in.Peek(1); len(head) == 0 || head[0] != '{' {
		return nil // the next read returns the read error again
	}
	if _, err := decodeResponse[any](in, 0); err != nil {
		return err
	}
	return errors.New("a single response to a batch")
}
