// Package leader elects one of several ingesters through Redis. The leader holds a lease and publishes under an epoch.
// Redis rejects the snapshots of ingesters with an earlier epoch.
package leader

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"sightglass/shared/contract"
)

// timeout bounds each operation, including all attempts of the client: on a Cluster it may try several nodes several
// times.
const timeout = 2 * time.Second

// claimScript elects the caller if the lease is free and the requested epoch is later than all before. The lease does
// not count if the caller knows of a later epoch than Redis does: then Redis has lost an election (a failover, an old
// copy of its data), and edges that saw that epoch would reject the lease holder's snapshots for long. Epochs are
// compared as text, by length and then by digits, because Lua's numbers do not hold 64 bits.
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

// publishScript is the fence. It stores and publishes a snapshot atomically, unless another leader was elected since.
// So a subscriber that reads the key after the message finds that snapshot or a newer one, and an ingester that slept
// while its successor was elected changes nothing. An expired lease does not matter while no other ingester has claimed
// it. The snapshot goes to replicas, but not to an append-only file, which would grow by 8 GB a day; the next snapshot
// replaces it anyway.
//
// KEYS: Leader, Epoch, Latest. ARGV: epoch, lease in ms, snapshot, its time to live in ms, channel. It returns an Outcome.
var publishScript = redis.NewScript(`
local last = redis.call('GET', KEYS[2])
if last ~= ARGV[1] then
  return last and 0 or -1
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
if redis.set_repl then
  redis.set_repl(redis.REPL_SLAVE)
end
redis.call('SET', KEYS[3], ARGV[3], 'PX', ARGV[4])
redis.call('PUBLISH', ARGV[5], ARGV[3])
return 1
`)

// An Outcome is the result of publishing a snapshot.
type Outcome int

// The outcomes.
const (
	EpochMissing Outcome = -1 // rejected: the key Epoch is missing, which Redis lost or an operator deleted
	Fenced       Outcome = 0  // rejected: another leader was elected, or Redis went back to an earlier epoch
	Published    Outcome = 1
)

// resignScript deletes a lease before it expires, so that a candidate need not wait. KEYS: Leader. ARGV: epoch.
var resignScript = redis.NewScript(`
if redis.call('GET', KEYS[1]) == ARGV[1] then
  redis.call('DEL', KEYS[1])
end
return 1
`)

// An Election is one ingester's participation in the elections. It is for one goroutine.
type Election struct {
	client redis.UniversalClient
	lease  time.Duration
	latest contract.Epoch // the latest known epoch; empty before the first Claim
	looked bool           // look has read the snapshot in Redis
}

// New returns an Election in client's Redis. A leader remains the leader for the lease after each snapshot that it
// published.
func New(client redis.UniversalClient, lease time.Duration) *Election {
	return &Election{client: client, lease: lease}
}

// Latest returns the latest known epoch, ours or another leader's; empty before the first Claim.
func (e *Election) Latest() contract.Epoch { return e.latest }

// A Result is the result of a Claim.
type Result struct {
	Epoch  contract.Epoch // of our leadership; empty: another ingester is the leader
	Before contract.Epoch // if elected, the latest epoch in Redis before; empty: none
	Known  contract.Epoch // the latest epoch known to this ingester before; empty: none
}

// Claim requests the leadership. An error means that Redis did not respond, or that its response was invalid.
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
		if epoch.After(last) { // so another ingester holds the lease
			return Result{}, nil
		}
	}
	return Result{}, fmt.Errorf("no epoch is later than %.40q in %s: DEL the key if that is not a number of milliseconds", e.latest, contract.KeyEpoch)
}

// maxClaims bounds the epochs that one Claim requests: a second one if the previous leader's clock was ahead of ours, a
// third one if another candidate was faster.
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

// look reads the epoch of the snapshot in Redis once, so that our epoch is later than the one that edges have seen,
// even if Redis has lost everything except the snapshot.
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

// Publish stores and publishes a snapshot under an epoch that Claim returned, and renews the lease. The snapshot
// expires after ttl.
func (e *Election) Publish(ctx context.Context, epoch contract.Epoch, encoded []byte, ttl time.Duration) (Outcome, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	outcome, err := publishScript.Run(ctx, e.client, []string{contract.KeyLeader, contract.KeyEpoch, contract.KeyLatest},
		string(epoch), e.lease.Milliseconds(), encoded, ttl.Milliseconds(), contract.Channel).Int()
	return Outcome(outcome), err
}

// Resign releases the lease, so that a candidate can be elected at once.
func (e *Election) Resign(ctx context.Context, epoch contract.Epoch) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return resignScript.Run(ctx, e.client, []string{contract.KeyLeader}, string(epoch)).Err()
}
