package contract

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"
)

// example is the snapshot in testdata/snapshot.json, the golden file of the contract.
func example() *Snapshot {
	return &Snapshot{
		Price: 5313.57, Confidence: 0.987,
		Transactions: []Point{{Timestamp: 1556771671.25, Price: 5310}, {Timestamp: 1556771672, Price: 5320.12}},
		Stats:        Stats{TotalReceived: 3315, TotalFiltered: 812, ActiveInWindow: 2503, UptimeSeconds: 61},
		Timestamp:    1556771672.5, Low: 5301.1, High: 5325.9, Status: Live, Seq: 123, Epoch: "1556771611000",
	}
}

// withPeers is example from an ingester that reads from peers, of which some are missing. testdata/snapshot-peers.json
// encodes it.
func withPeers() *Snapshot {
	s := example()
	s.Stats.Peers, s.Stats.PeersWanted = 3, 8
	return s
}

func golden(t testing.TB) []byte {
	t.Helper()
	data, err := os.ReadFile("testdata/snapshot.json")
	if err != nil {
		t.Fatal(err)
	}
	return bytes.TrimSpace(data)
}

func TestSnapshot_MatchesGoldenFile(t *testing.T) {
	if got := example().AppendJSON(nil); !bytes.Equal(got, golden(t)) {
		t.Errorf("got another encoding, want the public contract's\n got %s\nwant %s", got, golden(t))
	}
}

func TestSnapshot_RoundTrip(t *testing.T) {
	got, err := DecodeSnapshot(golden(t))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, example()) {
		t.Errorf("got %+v\nwant %+v", got, example())
	}
}

func TestSnapshot_WithPeersMatchesGoldenFile(t *testing.T) {
	want := goldenMessage(t, "snapshot-peers.json")
	if got := withPeers().AppendJSON(nil); !bytes.Equal(got, want) {
		t.Errorf("got another encoding, want the public contract's\n got %s\nwant %s", got, want)
	}
	got, err := DecodeSnapshot(want)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, withPeers()) {
		t.Errorf("got %+v\nwant %+v", got, withPeers())
	}
}

// TestSnapshot_WithoutPeersIsUnchanged: peers add two members of stats, and nothing for an ingester with a node.
func TestSnapshot_WithoutPeersIsUnchanged(t *testing.T) {
	with := goldenMessage(t, "snapshot-peers.json")
	got := bytes.Replace(with, []byte(`,"peers":3,"peers_wanted":8`), nil, 1)
	if want := example().AppendJSON(nil); !bytes.Equal(got, want) {
		t.Errorf("got %s without the members\nwant %s", got, want)
	}
}

// TestSnapshot_WithoutConnectedPeers: an ingester that has lost all of its peers does not look like one with a node.
func TestSnapshot_WithoutConnectedPeers(t *testing.T) {
	want := withPeers()
	want.Stats.Peers = 0
	data := want.AppendJSON(nil)
	if part := `"peers":0,"peers_wanted":8`; !bytes.Contains(data, []byte(part)) {
		t.Errorf("got %s, want it with %s", data, part)
	}
	if got, err := DecodeSnapshot(data); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v\nwant %+v", got, err, want)
	}
}

func TestSnapshot_WithoutPrice(t *testing.T) {
	s := &Snapshot{Status: Warming, Confidence: 0.65, Seq: 1, Epoch: EpochAt(time.UnixMilli(1556771611000))}
	data := s.AppendJSON(nil)
	if !bytes.Contains(data, []byte(`"transactions":[]`)) {
		t.Errorf("got %s, want an empty list as []", data)
	}
	got, err := DecodeSnapshot(data)
	if err != nil {
		t.Fatal(err)
	}
	if got.Price != 0 || got.Low != 0 || got.High != 0 || got.Confidence != 0.65 {
		t.Errorf("got %+v, want a confidence without a price", got)
	}
}

func TestDecode_IgnoresUnknownKeys(t *testing.T) {
	data := strings.Replace(string(golden(t)), `{"price"`, `{"mood":{"now":"good"},"price"`, 1)
	if _, err := DecodeSnapshot([]byte(data)); err != nil {
		t.Error(err)
	}
}

// TestDecode_KeepsEveryStatus: a status of a newer ingester reaches clients through an older edge.
func TestDecode_KeepsEveryStatus(t *testing.T) {
	for _, status := range []Status{Warming, Live, Contested, Stale, "half_open"} {
		t.Run(string(status), func(t *testing.T) {
			want := example()
			want.Status = status
			got, err := DecodeSnapshot(want.AppendJSON(nil))
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("got %+v, %v\nwant %+v", got, err, want)
			}
		})
	}
}

func TestDecode_RejectsInvalid(t *testing.T) {
	whole := string(golden(t))
	many := strings.Repeat(`{"timestamp":1,"price":1},`, MaxTransactions) + `{"timestamp":1,"price":1}`
	for name, c := range map[string]struct{ old, new, want string }{
		"not JSON":               {`{"price"`, `<html>`, "not JSON"},
		"an array":               {whole, `[1]`, "the whole: got a JSON array, want an object"},
		"price a string":         {`5313.57`, `"5313.57"`, "price: got a JSON string, want a number"},
		"price missing":          {`"price":5313.57,`, ``, "price: missing"},
		"price null":             {`5313.57`, `null`, "price: missing"},
		"price negative":         {`5313.57`, `-1`, "price: got -1, want 0 to"},
		"price infinite":         {`5313.57`, `1e999`, "price: got a JSON number"},
		"confidence over 1":      {`0.987`, `1.5`, "confidence: got 1.5, want 0 to 1"},
		"transactions an object": {`[{"timestamp":1556771671.250,"price":5310.00},{"timestamp":1556771672.000,"price":5320.12}]`, `{}`, "transactions: got a JSON object, want an array"},
		"too many transactions":  {`{"timestamp":1556771672.000,"price":5320.12}`, many, "transactions: got 1002, want at most"},
		"a point of strings":     {`{"timestamp":1556771671.250,"price":5310.00}`, `{"timestamp":"x","price":1}`, "transactions.timestamp: got a JSON string"},
		"a point below zero":     {`5310.00`, `-5310.00`, "transactions: index 0: price"},
		"stats missing":          {`"stats":{`, `"state":{`, "stats: missing"},
		"stats negative":         {`3315`, `-3315`, "stats.total_received: got a JSON number -3315, want an integer, 0 or more"},
		"peers negative":         {`":61}`, `":61,"peers":-1}`, "stats.peers: got a JSON number -1"},
		"peers wanted a string":  {`":61}`, `":61,"peers_wanted":"8"}`, "stats.peers_wanted: got a JSON string"},
		"timestamp missing":      {`"timestamp":1556771672.500,`, ``, "timestamp: missing"},
		"low missing":            {`"low":5301.10,`, ``, "low: missing"},
		"high missing":           {`"high":5325.90,`, ``, "high: missing"},
		"status missing":         {`"status":"live",`, ``, "status: missing"},
		"status empty":           {`"live"`, `""`, `status: got "", want a word of at most 32 lower-case letters`},
		"status with a quote":    {`"live"`, `"li\"ve"`, `status: got "li\"ve"`},
		"status of two words":    {`"live"`, `"Very live"`, `status: got "Very live"`},
		"status too long":        {`"live"`, `"` + strings.Repeat("a", 33) + `"`, "status: got"},
		"seq missing":            {`"seq":123,`, ``, "seq: missing"},
		"seq a fraction":         {`123,`, `1.5,`, "seq: got a JSON number 1.5, want an integer, 0 or more"},
		"epoch missing":          {`,"epoch":"1556771611000"`, ``, "epoch: missing"},
		"epoch a number":         {`"1556771611000"`, `1556771611000`, "epoch: got a JSON number, want a string"},
		"epoch a word":           {`"1556771611000"`, `"monday"`, `epoch: "monday" is not a decimal number`},
		"epoch empty":            {`"1556771611000"`, `""`, "epoch: "},
		"epoch zero-padded":      {`"1556771611000"`, `"01"`, "epoch: "},
	} {
		t.Run(name, func(t *testing.T) {
			data := strings.Replace(whole, c.old, c.new, 1)
			if data == whole {
				t.Fatalf("got a case that changes nothing, as %q is not in the golden file", c.old)
			}
			_, err := DecodeSnapshot([]byte(data))
			if !errors.Is(err, ErrInvalidSnapshot) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v\nwant an ErrInvalid with %q", err, c.want)
			}
		})
	}
}

func TestSnapshot_NewerThan(t *testing.T) {
	at := func(epoch Epoch, seq uint64) *Snapshot {
		return &Snapshot{Epoch: epoch, Seq: seq}
	}
	for name, c := range map[string]struct {
		a, b *Snapshot
		want bool
	}{
		"no snapshot before":               {at("1", 1), nil, true},
		"a higher seq":                     {at("5", 8), at("5", 7), true},
		"the same seq":                     {at("5", 7), at("5", 7), false},
		"a lower seq":                      {at("5", 6), at("5", 7), false},
		"a later epoch restarts seq":       {at("6", 1), at("5", 7), true},
		"an older epoch":                   {at("5", 99), at("6", 1), false},
		"epochs compare by value, 10 > 9":  {at("10", 1), at("9", 7), true},
		"epochs compare by value, 9 < 10":  {at("9", 9), at("10", 1), false},
		"an epoch is not compared by text": {at("2", 1), at("10", 1), false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := c.a.NewerThan(c.b); got != c.want {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

func TestEpochAfter_ExceedsOldAndClock(t *testing.T) {
	now := time.UnixMilli(1_556_771_611_000)
	for name, c := range map[string]struct{ old, want Epoch }{
		"no epoch before":       {"", "1556771611000"},
		"an older one":          {"1556771610999", "1556771611000"},
		"a clock set back":      {"1656771611000", "1656771611001"},
		"the same instant":      {"1556771611000", "1556771611001"},
		"an invalid epoch":      {"monday", "1556771611000"},
		"the largest epoch":     {"18446744073709551615", "1556771611000"},
		"an epoch out of range": {"99999999999999999999", "1556771611000"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := EpochAfter(c.old, now); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func TestAppendJSON_AllocatesNothing(t *testing.T) {
	s := withPeers()
	s.Transactions = make([]Point, MaxTransactions)
	buf := s.AppendJSON(nil)
	if n := testing.AllocsPerRun(10, func() { buf = s.AppendJSON(buf[:0]) }); n != 0 {
		t.Errorf("got %v allocations per encoding, want none", n)
	}
	if !json.Valid(buf) {
		t.Error("got invalid JSON, want it valid")
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(golden(f))
	f.Add(withPeers().AppendJSON(nil))
	f.Add(bytes.Replace(golden(f), []byte(`"live"`), []byte(`"contested"`), 1))
	f.Add(bytes.Replace(golden(f), []byte(`"live"`), []byte(`"li\"ve"`), 1))
	f.Add((&Snapshot{Status: Warming, Confidence: 0.2, Seq: 1, Epoch: "1"}).AppendJSON(nil))
	f.Add([]byte(`{}`))
	f.Add([]byte(`{"price":"1"}`))
	f.Add([]byte(`nonsense`))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := DecodeSnapshot(data)
		if err != nil {
			if !errors.Is(err, ErrInvalidSnapshot) {
				t.Fatalf("got error %v, want an ErrInvalid", err)
			}
			return
		}
		if _, err := DecodeSnapshot(s.AppendJSON(nil)); err != nil {
			t.Fatalf("got %v from the snapshot's own encoding, want no error", err)
		}
	})
}

func BenchmarkAppendJSON(b *testing.B) {
	s := example()
	s.Transactions = make([]Point, MaxTransactions)
	for i := range s.Transactions {
		s.Transactions[i] = Point{Timestamp: 1556771671.25 + float64(i), Price: 5313.57}
	}
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf = s.AppendJSON(buf[:0])
	}
	b.SetBytes(int64(len(buf)))
}

func BenchmarkDecode(b *testing.B) {
	s := example()
	s.Transactions = make([]Point, MaxTransactions)
	data := s.AppendJSON(nil)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if _, err := DecodeSnapshot(data); err != nil {
			b.Fatal(err)
		}
	}
}
