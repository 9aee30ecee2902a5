package record

import (
	"context"
	"encoding/json"
	"time"

	"sightglass/ingester/transcript"
)

// An Asker calls a node's RPC. *bitcoind.Client is one.
type Caller interface {
	// Call gives the result as the node wrote it.
	Call(ctx context.Context, method string, params ...any) (json.RawMessage, error)
}

// patience is for one call: a rotation of the file waits for its answers.
const callTimeout = 30 * time.Second

// A wish is something to ask the node, and gives what it answered.
type request func(ctx context.Context) []transcript.Line

// wish leaves w to the goroutine that asks.
func (r *recorder) enqueue(w request) {
	if r.opts.RPC == nil {
		return
	}
	select {
	case r.requests <- w:
	default:
		r.logLimit.Do(func() { r.opts.Log.Warn("the node answers too slowly; left a question out") })
	}
}

// ask is the goroutine that asks, one thing after the other.
func (r *recorder) runRequests(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case w := <-r.requests:
			for _, line := range w(ctx) {
				select {
				case <-ctx.Done():
					return
				case r.responses <- line:
				}
			}
		}
	}
}

// baseline is what a replay must know to begin here.
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

// mempool is what a replay checks itself by.
func (r *recorder) mempool(ctx context.Context) []transcript.Line {
	return r.call(ctx, nil, "getrawmempool", false, true)
}

// call appends what the node answers. An error is logged, and appends nothing. One call goes after the other, so that
// the answers are in the order of their times: a mempool's number that goes down would look like a restart.
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
		r.logLimit.Do(func() { r.opts.Log.Warn("an answer is missing, the rest goes on", "error", err) })
	}
	return lines
}
