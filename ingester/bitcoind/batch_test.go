package bitcoind

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// entryOf responds with a time that depends on the requested ID; every seventh is not found.
func entryOf(list []chainhash.Hash) func(method, params string) (string, *Error) {
	number := make(map[string]int)
	for i, id := range list {
		number[fmt.Sprintf("[%q]", id)] = i
	}
	return func(_, params string) (string, *Error) {
		i, known := number[params]
		if !known || i%7 == 0 {
			return "", &Error{Code: codeNotFound, Message: "Transaction not in mempool"}
		}
		return fmt.Sprintf(`{"vsize":141,"time":%d}`, 1_700_000_000+i), nil
	}
}

func TestBatch_Sizes(t *testing.T) {
	list := ids(4*maxBatch + 1)
	node := newNode(t, entryOf(list))
	node.twist = func(answers []string) []string { slices.Reverse(answers); return answers }
	c := open(t, Options{URL: node.URL})
	times, err := c.EntryTimes(t.Context(), list)
	if err != nil || len(times) != len(list) {
		t.Fatalf("got %d times, %v; want %d", len(times), err, len(list))
	}
	for i, at := range times {
		want := time.Unix(1_700_000_000+int64(i), 0)
		if i%7 == 0 {
			want = time.Time{}
		}
		if !at.Equal(want) {
			t.Fatalf("got time %d %v, want %v", i, at, want)
		}
	}
	if sizes := node.requests(); !reflect.DeepEqual(sizes, []int{maxBatch, maxBatch, maxBatch, maxBatch, 1}) {
		t.Errorf("got batches of %v, want full ones and a rest", sizes)
	}
	if n := testutil.ToFloat64(c.metrics.calls.WithLabelValues("getmempoolentry", "ok")); n != 5 {
		t.Errorf("got %v batches counted, want 5", n)
	}
}

func TestBatch_EmptyMakesNoCall(t *testing.T) {
	node := newNode(t, entryOf(nil))
	c := open(t, Options{URL: node.URL})
	times, err := c.EntryTimes(t.Context(), nil)
	txs, err2 := c.Transactions(t.Context(), nil)
	if len(times)+len(txs) != 0 || err != nil || err2 != nil || len(node.requests()) != 0 {
		t.Errorf("got %v %v %v %v after %d requests, want nothing and no request", times, txs, err, err2, len(node.requests()))
	}
}

func TestBatch_RejectsMalformedResponse(t *testing.T) {
	list := ids(10)
	for name, c := range map[string]struct {
		twist func([]string) []string
		want  string
	}{
		"one missing":   {func(a []string) []string { return a[1:] }, "9 responses to 10 calls"},
		"one too many":  {func(a []string) []string { return append(a, a[0]) }, "11 responses to 10 calls"},
		"a duplicate":   {func(a []string) []string { a[3] = a[4]; return a }, "or occurs twice"},
		"an earlier id": {func(a []string) []string { a[3] = `{"result":{"time":1},"id":0}`; return a }, "of another call"},
		"a later id":    {func(a []string) []string { a[3] = `{"result":{"time":1},"id":11}`; return a }, "of another call"},
		"no id":         {func(a []string) []string { a[3] = `{"result":{"time":1}}`; return a }, "of another call"},
		"null":          {func(a []string) []string { a[3] = "null"; return a }, "of another call"},
	} {
		t.Run(name, func(t *testing.T) {
			node := newNode(t, entryOf(list))
			node.twist = c.twist
			times, err := open(t, Options{URL: node.URL}).EntryTimes(t.Context(), list)
			checkKind(t, err, ErrResponse, []string{c.want})
			if times != nil || len(node.requests()) != 1 {
				t.Errorf("got times %v after %d tries, want none after 1", times, len(node.requests()))
			}
		})
	}
}

func TestBatch_SingleResponse(t *testing.T) {
	for name, c := range map[string]struct {
		status int
		body   string
		kind   error
		want   string
	}{
		"an error":           {500, `{"result":null,"error":{"code":-32700,"message":"Parse error"},"id":null}`, nil, "Parse error (RPC error -32700)"},
		"starting":           {500, `{"result":null,"error":{"code":-28,"message":"Verifying"},"id":null}`, ErrWarmingUp, "Verifying"},
		"a result":           {200, `{"result":{"time":1},"error":null,"id":0}`, ErrResponse, "a single response to a batch"},
		"a truncated object": {200, `{"resu`, ErrResponse, "is truncated"},
		"HTML":               {200, `<html>`, ErrResponse, "<html>"},
		"no bytes":           {200, ``, ErrResponse, "empty"},
		"a truncated array":  {200, `[{"id":1},`, ErrResponse, "is truncated"},
		"too large":          {200, "[" + strings.Repeat(" ", 5000), ErrResponse, "larger than 4000 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			client := open(t, Options{URL: serve(t, respond(c.status, c.body)).URL})
			client.maxResponse = 4000
			_, err := client.EntryTimes(t.Context(), ids(3))
			checkKind(t, err, c.kind, []string{"getmempoolentry", c.want})
		})
	}
}

func TestBatch_Errors(t *testing.T) {
	list := ids(3)
	var calls atomic.Int32
	starting := newNode(t, func(string, string) (string, *Error) {
		if calls.Add(1) <= 5 { // the first batch, and half of the second
			return "", &Error{Code: codeWarmUp, Message: "Loading wallet…"}
		}
		return `{"time":1}`, nil
	})
	if times, err := open(t, Options{URL: starting.URL}).EntryTimes(t.Context(), list); err != nil || times[0].Unix() != 1 {
		t.Errorf("got %v, %v; want all at the third try", times, err)
	}
	rejecting := newNode(t, func(string, string) (string, *Error) { return "", &Error{Code: -8, Message: "no"} })
	_, err := open(t, Options{URL: rejecting.URL}).Transactions(t.Context(), list)
	var said *Error
	if !errors.As(err, &said) || *said != (Error{"getrawtransaction", -8, "no"}) {
		t.Errorf("got %v, want the node's error -8", err)
	}
}

// TestBatch_OneBadResult: a malformed result does not affect the others, in any batch.
func TestBatch_OneBadResult(t *testing.T) {
	list := ids(2*maxBatch + 10)
	const bad = 2*maxBatch + 3
	for name, c := range map[string]struct {
		answer string
		want   string
	}{
		"an error":            {`"error":{"code":-1,"message":"no"}`, "no (RPC error -1)"},
		"an internal error":   {`"error":{"code":-32603,"message":"oh"}`, "oh (RPC error -32603)"},
		"no time":             {`"result":{}`, "the response has no time"},
		"null":                {`"result":null`, "the response has no time"},
		"a result is missing": {`"error":null`, "the response has no time"},
		"another type":        {`"result":"12"`, "cannot unmarshal string"},
	} {
		t.Run(name, func(t *testing.T) {
			node := newNode(t, entryOf(list))
			node.twist = func(a []string) []string {
				if len(a) == 10 {
					a[3] = fmt.Sprintf(`{%s,"id":%d}`, c.answer, bad+1)
				}
				return a
			}
			times, err := open(t, Options{URL: node.URL}).EntryTimes(t.Context(), list)
			partial, ok := errors.AsType[*PartialError](err)
			if !ok || len(partial.Failed) != 1 || partial.Asked != len(list) {
				t.Fatalf("got %v, want a PartialError about one of %d", err, len(list))
			}
			if text := fmt.Sprint(partial.Failed[bad]); !strings.Contains(text, list[bad].String()) || !strings.Contains(text, c.want) {
				t.Errorf("got %s\nwant an error with %v and %q", text, list[bad], c.want)
			}
			if len(node.requests()) != 3 {
				t.Errorf("got %d requests, want one for each batch", len(node.requests()))
			}
			for i, at := range times {
				if at.IsZero() != (i%7 == 0 || i == bad) {
					t.Fatalf("got time %d %v, want the others' times", i, at)
				}
			}
		})
	}
}

// TestBatch_ErrorsAboutTheNode: an error that is not about one transaction ends the call, so that the caller repeats
// it.
func TestBatch_ErrorsAboutTheNode(t *testing.T) {
	for code, kind := range map[int]error{codeWarmUp: ErrWarmingUp, codeMethod: ErrMethod} {
		node := newNode(t, entryOf(ids(10)))
		node.twist = func(a []string) []string {
			a[3] = fmt.Sprintf(`{"error":{"code":%d,"message":"no"},"id":4}`, code)
			return a
		}
		c := open(t, Options{URL: node.URL})
		times, err := c.EntryTimes(t.Context(), ids(10))
		if _, partial := errors.AsType[*PartialError](err); partial || times != nil || !errors.Is(err, kind) {
			t.Errorf("error %d: got %v, %v; want %v", code, times, err, kind)
		}
	}
}

func TestAboutOne_ClassifiesErrors(t *testing.T) {
	for _, err := range []error{unreachable.wrapf("x"), busy.wrapf("x"), (&Error{Code: codeWarmUp}).classify(), credentials.wrapf("x"),
		forbidden.wrapf("x"), (&Error{Code: codeMethod}).classify(), context.Canceled} {
		if AboutOne(fmt.Errorf("call: %w", err)) {
			t.Errorf("got %v as an error about one transaction, want one about the node", err)
		}
	}
	for _, err := range []error{badResponse.wrapf("x"), &Error{Code: codeMisc}, (&Error{Code: codeNotFound}).classify(), &Error{Code: -32603}} {
		if !AboutOne(fmt.Errorf("call: %w", err)) {
			t.Errorf("got %v as an error about the node, want one about one transaction", err)
		}
	}
}
