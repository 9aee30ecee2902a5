package e2e

import (
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"sightglass/edge/spec"
	"sightglass/infra/test/internal/programs"
	"sightglass/infra/test/internal/redistest"
	"sightglass/shared/contract"
)

// TestStatus_ReachesClients: an edge relays each status, one that it does not know and a snapshot without a price over
// all protocols, on the connections that clients have.
func TestStatus_ReachesClients(t *testing.T) {
	doc := readDocument(t, spec.OpenAPI, jsonschema.Draft2020, unchangedDocument)
	server := redistest.Start(t)
	redis := server.Client()
	e := edgeWith(t, server, unchanged)
	point := contract.Point{Timestamp: 4e9, Price: 5320}
	s := contract.Snapshot{
		Price: 5313.57, Confidence: 0.9, Low: 5300, High: 5330, Status: contract.Live, Timestamp: 4e9, Epoch: "5",
		Transactions: []contract.Point{point},
	}
	without := contract.Snapshot{Confidence: 0.2, Status: contract.Warming, Timestamp: 4e9, Epoch: "5"}
	send := func(s *contract.Snapshot) {
		payload := string(s.AppendJSON(nil))
		if err := redis.Set(t.Context(), contract.KeyLatest, payload, time.Minute).Err(); err != nil {
			t.Fatal(err)
		}
		publish(t, redis, payload)
	}
	plain, delta := view(t, e, source(0)), followStream(t, source(1), e.Addr().String())
	seq := uint64(0)
	for _, next := range []contract.Snapshot{s, with(s, contract.Contested), with(s, "half_open"), without, with(s, contract.Contested), s} {
		is := func(got *contract.Snapshot) bool {
			return got != nil && got.Status == next.Status && got.Price == next.Price && got.Low == next.Low &&
				len(got.Transactions) == len(next.Transactions)
		}
		again := func() { seq++; next.Seq = seq; send(&next) } // until it arrives: the edge subscribes meanwhile
		programs.Until(t, "the delta stream to have "+string(next.Status), func() bool {
			again()
			return is(delta.newest.Load())
		})
		if err := plain.Until(t.Context(), time.Minute, is); err != nil {
			t.Fatalf("%s on the plain stream: %v", next.Status, err)
		}
		answer := ask(t, "GET", e, "/api/v1/snapshot", nil)
		if err := doc.valid(t, "#/components/schemas/Snapshot", parse(t, answer.body)); err != nil {
			t.Errorf("%s: got %v, want a valid snapshot:\n%s", next.Status, err, answer.body)
		}
		if got, err := contract.DecodeSnapshot(answer.body); err != nil || !is(got) {
			t.Errorf("got %s, %v, want the status %s", answer.body, err, next.Status)
		}
		if got := ask(t, "GET", e, "/health", nil).StatusCode; got != 200 {
			t.Errorf("%s: got status %d from /health, want 200", next.Status, got)
		}
	}
	if n := len(delta.reasons); n > 0 {
		t.Errorf("got %d ended connections, the first by %v, want none", n, <-delta.reasons)
	}
}

func with(s contract.Snapshot, status contract.Status) contract.Snapshot {
	s.Status = status
	return s
}
