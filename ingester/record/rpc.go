package record

import (
	"context"
	"encoding/json"
	"time"

	"sightglass/ingester/transcript"
)

// A Caller calls a node's RPC. *bitcoind.Client is one.
type Caller interface {
	// Call returns the result as the node wrote it.
	Call(ctx context.Context, method string, params ...any) (json.RawMessage, error)
}

// callTimeout is for one call: a rotation of the file waits for its responses.
const callTimeout = 30 * time.Second

// A request calls the node and returns the responses as lines.
type request func(ctx context.Context) []transcript.Line

// enqueue passes q to the goroutine that makes the requests.
func (r *recorder) enqueue(q request) {
	if r.opts.RPC == nil {
		return
	}
	select {
	case r.requests <- q:
	default:
		r.logLimit.Do(func() { r.opts.Log.Warn("bitcoind responds too slowly; skipped a request") })
	}
}

// runRequests is the goroutine that makes the requests, one after the other.
func (r *recorder) runRequests(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case q := <-r.requests:
			for _, line := range q(ctx) {
				select {
				case <-ctx.Done():
					return
				case r.responses <- line:
				}
			}
		}
	}
}

// baseline returns the responses with which a replay can start here.
func (r *recorder) baseline(ctx context.Context) []transcript.Line {
	if r.opts.RPC == nil {
		return nil
	}
	lines := r.call(ctx, nil, "getzmqnotifications")
	lines = r.call(ctx, lines, "getnetworkinfo")
	chain := r.call(ctx, nil, "getblockchaininfo")
	for _, line := range chain {
		lines = append(lines, line)
		var info struct{ BestBlockHash string }
		if json.Unmarshal(line.Result, &info) == nil && info.BestBlockHash != "" {
			lines = r.call(ctx, lines, "getblockheader", info.BestBlockHash)
		}
	}
	return append(lines, r.mempool(ctx)...)
}

// mempool returns the list that a replay checks its state by.
func (r *recorder) mempool(ctx context.Context) []transcript.Line {
	return r.call(ctx, nil, "getrawmempool", false, true)
}

// call appends the node's response. An error is logged, and appends nothing. Calls are made one at a time, so that the
// responses are in the order of their times: a mempool sequence that goes down would look like a restart.
func (r *recorder) call(ctx context.Context, lines []transcript.Line, method string, params ...any) []transcript.Line {
	r.rpcMutex.Lock()
	defer r.rpcMutex.Unlock()
	limited, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	result, err := r.opts.RPC.Call(limited, method, params...)
	if err == nil {
		line := transcript.Line{T: r.at(time.Now()), Method: method, Result: result}
		if line.Params, err = json.Marshal(append([]any{}, params...)); err == nil {
			return append(lines, line)
		}
	}
	if ctx.Err() == nil {
		r.logLimit.Do(func() { r.opts.Log.Warn("an RPC response is missing; the recording continues", "error", err) })
	}
	return lines
}
