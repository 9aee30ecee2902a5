package publish

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"sightglass/shared/keys"
	"sightglass/shared/snapshot"
)

// claiming grants a reign if none is: the lease is free, and the epoch asked for is later than all before. A lease does
// not count if the claimer knows of a later epoch than Redis does: then Redis has lost a grant (a failover, an old copy
// of its data), and edges that saw that reign would refuse the one who has the lease for good. Epochs are compared as
// text, by length and then by digits: Lua's numbers do not hold 64 bits.
//
// KEYS: Leader, Epoch. ARGV: the epoch asked for, the lease in ms, the latest epoch that the claimer knows of. It answers
// {1 if granted, the last epoch before that, empty if there is none}.
var claiming = redis.NewScript(`
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

// publishing stores and announces a snapshot in one step, if nobody was granted a later reign since its own: whoever
// hears of it and reads the key finds it there, and an ingester that slept through its successor's coming changes
// nothing. The lease may have run out as long as nobody else took it.
//
// KEYS: Leader, Epoch, Latest. ARGV: epoch, lease in ms, snapshot, how long it is kept in ms, channel. It answers with
// one of the outcomes below.
var publishing = redis.NewScript(`
local last = redis.call('GET', KEYS[2])
if last ~= ARGV[1] then
  return last and 0 or -1
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
redis.call('SET', KEYS[3], ARGV[3], 'PX', ARGV[4])
redis.call('PUBLISH', ARGV[5], ARGV[3])
return 1
`)

// What comes of a snapshot that Redis has answered about.
const (
	outcomeLost      = -1 // refused: the key Epoch is gone, which nobody deletes but Redis itself or its operator
	outcomeFenced    = 0  // refused: another epoch was granted, or Redis has gone back to one
	outcomePublished = 1
)

// releasing ends a lease before its time, so that who stands by need not wait for it. KEYS: Leader. ARGV: epoch.
var releasing = redis.NewScript(`
if redis.call('GET', KEYS[1]) == ARGV[1] then
  redis.call('DEL', KEYS[1])
end
return 1
`)

// A throne is where an ingester gets its reign: at most one has it at a time, and what an earlier one still writes is
// refused. It is for one goroutine.
type throne struct {
	client redis.UniversalClient
	lease  time.Duration
	latest snapshot.Epoch // that we know of; empty before the first look
	looked bool           // at the newest snapshot in Redis
}

// A grant is what came of a claim.
type grant struct {
	epoch  snapshot.Epoch // empty: another ingester has it
	before snapshot.Epoch // the latest epoch that Redis had, if ours was granted; empty: it had none
	known  snapshot.Epoch // the latest that was known here; empty: none
}

// claim asks for a reign.
func (t *throne) claim(ctx context.Context) (grant, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := t.look(ctx); err != nil {
		return grant{}, err
	}
	// The first snapshot of a reign may come a tick later, and each way to Redis may take as long as is waited for it.
	lease := t.lease + patience
	known := t.latest
	for range claims {
		epoch := snapshot.EpochAfter(t.latest, time.Now())
		answer, err := claiming.Run(ctx, t.client, []string{keys.Leader, keys.Epoch},
			string(epoch), lease.Milliseconds(), string(t.latest)).Slice()
		if err != nil {
			return grant{}, err
		}
		granted, last, err := readClaim(answer)
		if err != nil {
			return grant{}, err
		}
		if granted {
			t.latest = epoch
			return grant{epoch: epoch, before: last, known: known}, nil
		}
		if last.After(t.latest) {
			t.latest = last
		}
		if epoch.After(last) { // so it is the lease that another has
			return grant{}, nil
		}
	}
	return grant{}, fmt.Errorf("no epoch is later than %.40q, which is in %s: DEL it if that is no number of milliseconds", t.latest, keys.Epoch)
}

// claims is how often in a row an epoch is asked for: a second time if the clock of the one before was ahead of ours,
// a third if somebody was quicker.
const claims = 3

func readClaim(answer []any) (granted bool, last snapshot.Epoch, err error) {
	if len(answer) == 2 {
		n, isNumber := answer[0].(int64)
		text, isText := answer[1].(string)
		if isNumber && isText {
			return n == 1, snapshot.Epoch(text), nil
		}
	}
	return false, "", fmt.Errorf("redis answers a claim with %v", answer)
}

// look reads the epoch of the snapshot that is in Redis, so that edges never take ours for older, even where Redis
// has lost everything but that.
func (t *throne) look(ctx context.Context) error {
	if t.looked {
		return nil
	}
	data, err := t.client.Get(ctx, keys.Latest).Bytes()
	if err != nil && !errors.Is(err, redis.Nil) {
		return err
	}
	if s, err := snapshot.Decode(data); err == nil { // what is no snapshot has no edge taken
		t.latest = s.Epoch
	}
	t.looked = true
	return nil
}

// publish writes a snapshot of a reign that was granted, and gives the outcome.
func (t *throne) publish(ctx context.Context, epoch snapshot.Epoch, encoded []byte) (outcome int, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return publishing.Run(ctx, t.client, []string{keys.Leader, keys.Epoch, keys.Latest},
		string(epoch), t.lease.Milliseconds(), encoded, keep.Milliseconds(), keys.Channel).Int()
}

// release gives the reign up.
func (t *throne) release(ctx context.Context, epoch snapshot.Epoch) error {
	return releasing.Run(ctx, t.client, []string{keys.Leader}, string(epoch)).Err()
}
