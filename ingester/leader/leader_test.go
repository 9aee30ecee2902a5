package leader

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"sightglass/shared/contract"
	"sightglass/shared/redistest"
)

// lease is longer than any test, so that only the test ends a lease.
const lease = time.Minute

func claim(t *testing.T, e *Election) Result {
	t.Helper()
	r, err := e.Claim(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func elect(t *testing.T, e *Election) contract.Epoch {
	t.Helper()
	r := claim(t, e)
	if r.Epoch == "" {
		t.Fatal("got no election, want one")
	}
	return r.Epoch
}

func publish(t *testing.T, e *Election, epoch contract.Epoch, text string) Outcome {
	t.Helper()
	outcome, err := e.Publish(t.Context(), epoch, []byte(text), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return outcome
}

func run(t *testing.T, client *redis.Client, command ...any) {
	t.Helper()
	if err := client.Do(t.Context(), command...).Err(); err != nil {
		t.Fatalf("%v: %v", command, err)
	}
}

func TestElection_OneLeaderAtATime(t *testing.T) {
	client := redistest.Start(t)
	first, second := New(client, lease), New(client, lease)
	old := elect(t, first)
	if r := claim(t, second); r.Epoch != "" {
		t.Errorf("got a second leader under epoch %s, want none", r.Epoch)
	}
	run(t, client, "DEL", contract.KeyLeader) // the lease expires
	next := elect(t, second)
	if !next.After(old) {
		t.Errorf("got epoch %s after %s, want a later one", next, old)
	}
	if got := publish(t, second, next, "new"); got != Published {
		t.Errorf("the leader's snapshot: got outcome %d, want %d", got, Published)
	}
	if got := publish(t, first, old, "old"); got != Fenced {
		t.Errorf("the earlier leader's snapshot: got outcome %d, want %d", got, Fenced)
	}
	if got := client.Get(t.Context(), contract.KeyLatest).Val(); got != "new" {
		t.Errorf("got latest snapshot %q, want new", got)
	}
}

// TestElection_OneOfConcurrentClaims: and each term's epoch is later than the previous one.
func TestElection_OneOfConcurrentClaims(t *testing.T) {
	client := redistest.Start(t)
	before := contract.Epoch("0")
	for range 10 {
		var results [8]Result
		var claims sync.WaitGroup
		for i := range results {
			claims.Go(func() { results[i], _ = New(client, lease).Claim(t.Context()) })
		}
		claims.Wait()
		var elected []contract.Epoch
		for _, r := range results {
			if r.Epoch != "" {
				elected = append(elected, r.Epoch)
			}
		}
		if len(elected) != 1 || !elected[0].After(before) {
			t.Fatalf("got elected %v, want one, later than %s", elected, before)
		}
		before = elected[0]
		run(t, client, "DEL", contract.KeyLeader)
	}
}

// TestElection_ExpiredLeaseWithoutSuccessor: a suspended leader continues under its epoch if no other was elected.
func TestElection_ExpiredLeaseWithoutSuccessor(t *testing.T) {
	client := redistest.Start(t)
	e := New(client, lease)
	epoch := elect(t, e)
	run(t, client, "DEL", contract.KeyLeader)
	if got := publish(t, e, epoch, "x"); got != Published {
		t.Errorf("got outcome %d, want %d", got, Published)
	}
	if r := claim(t, New(client, lease)); r.Epoch != "" {
		t.Error("got no lease after publishing, want it renewed")
	}
}

func TestElection_ResignFreesLease(t *testing.T) {
	client := redistest.Start(t)
	first, second := New(client, lease), New(client, lease)
	old := elect(t, first)
	if err := first.Resign(t.Context(), old); err != nil {
		t.Fatal(err)
	}
	elect(t, second)
	if err := first.Resign(t.Context(), old); err != nil { // a second time: the lease is not its own any more
		t.Fatal(err)
	}
	if r := claim(t, first); r.Epoch != "" {
		t.Error("got no lease of the second, want it kept")
	}
}

// TestElection_PublishIsAtomic: a subscriber that receives the message finds the snapshot under the key, and both TTLs.
func TestElection_PublishIsAtomic(t *testing.T) {
	client := redistest.Start(t)
	sub := client.Subscribe(t.Context(), contract.Channel)
	defer sub.Close()
	if _, err := sub.Receive(t.Context()); err != nil {
		t.Fatal(err)
	}
	e := New(client, lease)
	publish(t, e, elect(t, e), "snapshot")
	message, err := sub.ReceiveMessage(t.Context())
	if err != nil || message.Payload != "snapshot" {
		t.Fatalf("got %v, %v, want the snapshot", message, err)
	}
	for key, most := range map[string]time.Duration{contract.KeyLatest: time.Hour, contract.KeyLeader: lease} {
		if ttl := client.PTTL(t.Context(), key).Val(); ttl <= 0 || ttl > most {
			t.Errorf("%s: got TTL %v, want at most %v", key, ttl, most)
		}
	}
}

func TestElection_EpochRises(t *testing.T) {
	day := time.Now().Add(24 * time.Hour).UnixMilli()
	for name, set := range map[string]func(*testing.T, *redis.Client){
		"than the last election's by a fast clock": func(t *testing.T, client *redis.Client) {
			run(t, client, "SET", contract.KeyEpoch, day)
		},
		"than the snapshot's, the only key": func(t *testing.T, client *redis.Client) {
			s := contract.Snapshot{Status: contract.Live, Seq: 1, Epoch: contract.Epoch(strconv.FormatInt(day, 10))}
			run(t, client, "SET", contract.KeyLatest, s.AppendJSON(nil))
		},
	} {
		t.Run(name, func(t *testing.T) {
			client := redistest.Start(t)
			set(t, client)
			if got, want := elect(t, New(client, lease)), contract.Epoch(strconv.FormatInt(day+1, 10)); got != want {
				t.Errorf("got epoch %s, want %s", got, want)
			}
		})
	}
}

func TestElection_EmptiedRedis(t *testing.T) {
	client := redistest.Start(t)
	e := New(client, lease)
	old := elect(t, e)
	run(t, client, "FLUSHALL")
	if got := publish(t, e, old, "x"); got != EpochMissing {
		t.Errorf("got outcome %d, want %d", got, EpochMissing)
	}
	r := claim(t, e)
	if !r.Epoch.After(old) || r.Before != "" || r.Known != old {
		t.Errorf("got %+v, want an epoch after %s, none before, %s known", r, old, old)
	}
}

// TestElection_RedisRestoredFromOldData: a Redis with restored old data has the earlier leader's lease. The ingester
// that was elected since replaces it; otherwise edges would reject the earlier leader's snapshots.
func TestElection_RedisRestoredFromOldData(t *testing.T) {
	client := redistest.Start(t)
	earlier, later := New(client, lease), New(client, lease)
	old := elect(t, earlier)
	dump := client.Dump(t.Context(), contract.KeyEpoch).Val()
	run(t, client, "DEL", contract.KeyLeader)
	lost := elect(t, later)
	run(t, client, "RESTORE", contract.KeyEpoch, 0, dump, "REPLACE")
	run(t, client, "SET", contract.KeyLeader, string(old))
	if got := publish(t, later, lost, "x"); got != Fenced {
		t.Errorf("got outcome %d, want %d", got, Fenced)
	}
	if next := elect(t, later); !next.After(lost) {
		t.Errorf("got epoch %s, want one after %s", next, lost)
	}
	if got := publish(t, earlier, old, "x"); got != Fenced {
		t.Errorf("the earlier leader: got outcome %d, want %d", got, Fenced)
	}
}

func TestElection_UnusableEpochInRedis(t *testing.T) {
	client := redistest.Start(t)
	run(t, client, "SET", contract.KeyEpoch, strings.Repeat("9", 30))
	_, err := New(client, lease).Claim(t.Context())
	if err == nil || !strings.Contains(err.Error(), contract.KeyEpoch) || !strings.Contains(err.Error(), "DEL") {
		t.Errorf("got %v, want an error that names %s and what to do", err, contract.KeyEpoch)
	}
}

func TestElection_RedisIsUnreachable(t *testing.T) {
	client := redistest.Start(t)
	e := New(client, lease)
	epoch := elect(t, e)
	run(t, client, "CONFIG", "SET", "requirepass", "secret") // for new connections
	away := redis.NewClient(client.Options())
	defer away.Close()
	e.client = away
	if _, err := e.Claim(t.Context()); err == nil {
		t.Error("Claim: got no error")
	}
	if outcome, err := e.Publish(t.Context(), epoch, nil, time.Hour); err == nil {
		t.Errorf("Publish: got outcome %d without an error", outcome)
	}
	if err := e.Resign(t.Context(), epoch); err == nil {
		t.Error("Resign: got no error")
	}
}

func TestDecodeClaim_RejectsMalformed(t *testing.T) {
	for _, reply := range [][]any{nil, {int64(1)}, {"1", "2"}, {int64(1), int64(2)}, {int64(1), "2", "3"}} {
		if _, _, err := decodeClaim(reply); err == nil {
			t.Errorf("%s: got no error", fmt.Sprint(reply))
		}
	}
}
