package e2e

import (
	"bytes"
	"log/slog"
	"math"
	"net/http"
	"strings"
	"testing"

	"sightglass/edge"
	"sightglass/infra/test/internal/programs"
	"sightglass/infra/test/internal/redistest"
	redispublish "sightglass/ingester/publish"
	"sightglass/ingester/testblock"
	"sightglass/shared/contract"
)

// evidenceOf decodes a response of /api/v1/evidence.
func evidenceOf(t *testing.T, got response) *contract.Evidence {
	t.Helper()
	if got.StatusCode != http.StatusOK {
		t.Fatalf("got %s, want 200: %.200s", got.Status, got.body)
	}
	evidence, err := contract.DecodeEvidence(got.body)
	if err != nil {
		t.Fatal(err)
	}
	return evidence
}

// bestPrice returns the price with the most payments in three bins.
func bestPrice(b *contract.Bins) (price float64) {
	best, most := 1, uint64(0)
	for i := 1; i+1 < len(b.Counts); i++ {
		if n := b.Counts[i-1] + b.Counts[i] + b.Counts[i+1]; n > most {
			best, most = i, n
		}
	}
	return b.From * math.Pow(10, b.Step*(float64(best)+0.5))
}

// TestEvidence_PeaksAtPrice: end to end, the edge serves evidence from which the price can be read, in a few kilobytes.
func TestEvidence_PeaksAtPrice(t *testing.T) {
	env := start(t, 1)
	e := env.edges[0]
	awaitEvidence(t, e)
	got := ask(t, "GET", e, "/api/v1/evidence", nil)
	evidence := evidenceOf(t, got)
	if at := bestPrice(&evidence.Prices.Bins); math.Abs(at/evidence.Price-1) > 0.01 {
		t.Errorf("got most payments at %.2f, want them within 1 %% of the price, %v", at, evidence.Price)
	}
	if math.Abs(evidence.Price/testblock.Price574200-1) > 0.05 { // it is of the first tick with a price
		t.Errorf("got the price %v, want %v", evidence.Price, testblock.Price574200)
	}
	if caching := got.Header.Get("Cache-Control"); caching != "public, max-age=10" {
		t.Errorf("got Cache-Control %s, want public, max-age=10", caching)
	}
	packed := ask(t, "GET", e, "/api/v1/evidence", http.Header{"Accept-Encoding": {"gzip"}})
	t.Logf("%d bytes, %d gzipped", len(got.body), len(packed.body))
	if len(packed.body) > 6000 || !bytes.Equal(unpack(t, packed), got.body) {
		t.Errorf("got %d bytes gzipped, want 6,000 at most, of the same body", len(packed.body))
	}
	if ttl := env.redis.Client().TTL(t.Context(), contract.KeyEvidence).Val(); ttl <= 0 {
		t.Errorf("got TTL %v of the evidence, want one that expires after the ingester's end", ttl)
	}
}

// awaitEvidence waits until an edge serves evidence.
func awaitEvidence(t *testing.T, e *edge.Edge) {
	t.Helper()
	programs.Until(t, "the evidence", func() bool {
		return ask(t, "GET", e, "/api/v1/evidence", nil).StatusCode == http.StatusOK
	})
}

// TestEvidenceCache_ServesValidOnly: Redis has none, has some, has what is not evidence, has more than this version knows,
// and is down.
func TestEvidenceCache_ServesValidOnly(t *testing.T) {
	server := redistest.Start(t)
	client := server.Client()
	fresh := func() (int, string) { // of an edge that has just started
		get, _ := newAPI(t, server)
		return get("/evidence")
	}
	if status, body := fresh(); status != http.StatusServiceUnavailable || body != "no evidence yet" {
		t.Errorf("without a key: got %d, %q, want 503", status, body)
	}
	redistest.StoreEvidence(t, client, 5000)
	get, reg := newAPI(t, server)
	_, want := get("/evidence")
	for name, text := range map[string]string{
		"nonsense":  "nonsense",
		"no number": strings.Replace(want, "5000", `"<script>"`, 1),
		"too long":  want + strings.Repeat(" ", 1<<18),
	} {
		if err := client.Set(t.Context(), contract.KeyEvidence, text, 0).Err(); err != nil {
			t.Fatal(err)
		}
		if status, body := fresh(); status != http.StatusServiceUnavailable {
			t.Errorf("%s: got %d, %.200q, want 503", name, status, body)
		}
	}
	if err := client.Set(t.Context(), contract.KeyEvidence, strings.Replace(want, "{", `{"newer":"<script>",`, 1), 0).Err(); err != nil {
		t.Fatal(err)
	}
	if status, body := fresh(); status != http.StatusOK || body != want {
		t.Errorf("got %d, %.200q from evidence with an unknown key, want 200 without that", status, body)
	}
	server.Kill()
	programs.Until(t, "a failed fetch", func() bool {
		if status, body := get("/evidence"); status != http.StatusOK || body != want {
			t.Fatalf("got %d, %.200q, want the last valid evidence", status, body)
		}
		return value(t, reg, "sightglass_cache_failures_total") > 0
	})
	if status, _ := fresh(); status != http.StatusServiceUnavailable {
		t.Errorf("an edge without evidence: got status %d, want 503", status)
	}
}

// TestEvidence_RejectedWriteDoesNotAffectSnapshots: the ingester's user may not write the evidence's key.
func TestEvidence_RejectedWriteDoesNotAffectSnapshots(t *testing.T) {
	server := redistest.Start(t)
	rights := []any{"ACL", "SETUSER", "ingester", "on", ">secret", "~" + contract.KeyLatest, "~" + contract.KeyLeader, "~" + contract.KeyEpoch, "&sightglass:*", "+@all"}
	if err := server.Client().Do(t.Context(), rights...).Err(); err != nil {
		t.Fatal(err)
	}
	p, reg, stop := publisherWith(t, strings.Replace(server.URL(), "//", "//ingester:secret@", 1), contract.Lease, slog.New(slog.DiscardHandler))
	defer stop()
	programs.Until(t, "a rejected write", func() bool {
		p.Put(&redispublish.Tick{Snapshot: contract.Snapshot{Status: contract.Warming}, Evidence: &contract.Evidence{Price: 1}})
		return value(t, reg, "sightglass_publish_evidence_failures_total") > 0
	})
	if n := value(t, reg, "sightglass_publish_failures_total"); n != 0 || latest(t, server) == nil {
		t.Errorf("got %v failed snapshots, want none and a snapshot in redis", n)
	}
}
