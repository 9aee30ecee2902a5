// Package leader elects one of several ingesters through Redis: the leader holds a lease and publishes under an epoch, and
// Redis itself rejects what an ingester of an earlier epoch still publishes.
package leader

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"sightglass/shared/contract"
)

// timeout bounds each operation, with everything that the client tries for it: on a Cluster those are several attempts at
// several nodes.
const timeout = 2 * time.Second

// claimScript elects the caller if the lease is free and the requested epoch is later than all before. A lease does not
// count if the caller knows of a later epoch than Redis does: then Redis has lost an election (a failover, an old copy of
// its data), and edges that saw that epoch would reject the lease's holder for long. Epochs are compared as text, by length
// and then by digits: Lua's numbers do not hold 64 bits.
//
// KEYS: Leader, Epoch. ARGV: the requested epoch, the lease in ms, the latest epoch that the caller knows of. It returns
// {1 if elected, the last epoch before that, empty if there is none}.
var claimScript = redis.NewScript(`
local function later(a, b) return #a > #b or (#a == #b and a > b) end
local last = redis.call('GET', KEYS[2]) or ''
if later(ARGV[3], last) then
  redis.call('DEL', KEYS[1])
end
if not later(ARGV[1], last) or not redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then
  return {0, last}
end
redis.call('SET', KEYS[2], ARGV[1])
return {1, last}
`)

// publishScript is the fence. It stores and publishes a snapshot in one step, unless another leader was elected since: a
// subscriber that reads the key after the message finds the snapshot there, and an ingester that slept while its successor
// was elected changes nothing. The lease may have expired as long as no other ingester took it.
//
// KEYS: Leader, Epoch, Latest. ARGV: epoch, lease in ms, snapshot, its time to live in ms, channel. It returns an Outcome.
var publishScript = redis.NewScript(`
local last = redis.call('GET', KEYS[2])
if last ~= ARGV[1] then
  return last and 0 or -1
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
redis.call('SET', KEYS[3], ARGV[3], 'PX', ARGV[4])
redis.call('PUBLISH', ARGV[5], ARGV[3])
return 1
`)

// An Outcome is what Redis did with a snapshot.
type Outcome int

// The outcomes.
const (
	EpochMissing Outcome = -1 // rejected: the key Epoch is gone, which only Redis itself or its operator deletes
	Fenced       Outcome = 0  // rejected: another leader was elected, or Redis has gone back to an earlier epoch
	Published    Outcome = 1
)

// resignScript ends a lease early, so that a candidate need not wait for its end. KEYS: Leader. ARGV: epoch.
var resignScript = redis.NewScript(`
if redis.call('GET', KEYS[1]) == ARGV[1] then
  redis.call('DEL', KEYS[1])
end
return 1
`)

// An Election is one ingester's part in the elections. It is for one goroutine.
type Election struct {
	client redis.UniversalClient
	lease  time.Duration
	latest contract.Epoch // the latest epoch known here; empty before the first Claim
	looked bool           // at the newest snapshot in Redis
}

// New joins the elections in client's Redis. A leader remains it for the lease after each snapshot that it published.
func New(client redis.UniversalClient, lease time.Duration) *Election {
	return &Election{client: client, lease: lease}
}

// Latest is the latest epoch known here, ours or another leader's; empty before the first Claim.
func (e *Election) Latest() contract.Epoch { return e.latest }

// A Result is the result of a Claim.
type Result struct {
	Epoch  contract.Epoch // of our leadership; empty: another ingester is the leader
	Before contract.Epoch // if elected, the latest epoch that Redis had; empty: none
	Known  contract.Epoch // the latest epoch known here before; empty: none
}

// Claim runs for leader. Errors are Redis's: no response, or one that makes no sense.
func (e *Election) Claim(ctx context.Context) (Result, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if err := e.look(ctx); err != nil {
		return Result{}, err
	}
	lease := e.lease + timeout // the first snapshot may take as long as any operation
	known := e.latest
	for range maxClaims {
		epoch := contract.EpochAfter(e.latest, time.Now())
		reply, err := claimScript.Run(ctx, e.client, []string{contract.KeyLeader, contract.KeyEpoch},
			string(epoch), lease.Milliseconds(), string(e.latest)).Slice()
		if err != nil {
			return Result{}, err
		}
		elected, last, err := decodeClaim(reply)
		if err != nil {
			return Result{}, err
		}
		if elected {
			e.latest = epoch
			return Result{Epoch: epoch, Before: last, Known: known}, nil
		}
		if last.After(e.latest) {
			e.latest = last
		}
		if epoch.After(last) { // so another ingester has the lease
			return Result{}, nil
		}
	}
	return Result{}, fmt.Errorf("no epoch is later than %.40q, which is in %s: DEL it if that is no number of milliseconds", e.latest, contract.KeyEpoch)
}

// maxClaims is how many epochs one Claim requests: a second one if the previous leader's clock was ahead of ours, a third
// if another candidate was faster.
const maxClaims = 3

func decodeClaim(reply []any) (elected bool, last contract.Epoch, err error) {
	if len(reply) == 2 {
		n, isNumber := reply[0].(int64)
		text, isText := reply[1].(string)
		if isNumber && isText {
			return n == 1, contract.Epoch(text), nil
		}
	}
	return false, "", fmt.Errorf("redis returned %v to a claim", reply)
}

// look reads the epoch of the snapshot in Redis once, so that edges never take ours for an older one, even where Redis has
// lost everything but the snapshot.
func (e *Election) look(ctx context.Context) error {
	if e.looked {
		return nil
	}
	data, err := e.client.Get(ctx, contract.KeyLatest).Bytes()
	if err != nil && !errors.Is(err, redis.Nil) {
		return err
	}
	if s, err := contract.DecodeSnapshot(data); err == nil { // edges reject an invalid one
		e.latest = s.Epoch
	}
	e.looked = true
	return nil
}

// Publish stores and publishes a snapshot under an epoch that a Claim returned, and renews the lease. The snapshot stays
// readable for the time to live.
func (e *Election) Publish(ctx context.Context, epoch contract.Epoch, encoded []byte, ttl time.Duration) (Outcome, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	outcome, err := publishScript.Run(ctx, e.client, []string{contract.KeyLeader, contract.KeyEpoch, contract.KeyLatest},
		string(epoch), e.lease.Milliseconds(), encoded, ttl.Milliseconds(), contract.Channel).Int()
	return Outcome(outcome), err
}

// Resign gives the lease up, so that a candidate can be elected at once.
func (e *Election) Resign(ctx context.Context, epoch contract.Epoch) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return resignScript.Run(ctx, e.client, []string{contract.KeyLeader}, string(epoch)).Err()
}
