package hub

import (
	"bytes"
	"encoding/binary"
	"io"
	"sync"
	"testing"

	"github.com/klauspost/compress/flate"

	"sightglass/edge/feed"
	"sightglass/shared/contract"
)

// points returns n points from a number on; each has a different price.
func points(from, n int) []contract.Point {
	all := make([]contract.Point, n)
	for i := range all {
		all[i] = contract.Point{Timestamp: 1795439823.5 + float64(from+i), Price: 50000 + float64((from+i)*7919%1000)}
	}
	return all
}

func encoded(epoch contract.Epoch, seq uint64, points []contract.Point) []byte {
	s := contract.Snapshot{Price: 50000, Status: contract.Live, Epoch: epoch, Seq: seq, Transactions: points, Timestamp: 1795439823}
	return s.AppendJSON(nil)
}

func newFrame(t testing.TB, json []byte, before *frame) *frame {
	t.Helper()
	var base *feed.Update
	if before != nil {
		base = before.Update
	}
	u, err := feed.NewUpdate(json, base)
	if err != nil {
		t.Fatal(err)
	}
	return &frame{Update: u}
}

// stale is the frame that marks f's snapshot as stale. Like the feed's, it has no base.
func stale(t testing.TB, f *frame) *frame {
	t.Helper()
	s := *f.Snapshot
	s.Status = contract.Stale
	return newFrame(t, s.AppendJSON(nil), nil)
}

// open decodes a server's frame, as a client does.
func open(t testing.TB, frame []byte) (json []byte) {
	t.Helper()
	if frame[0]&0x8f != 0x81 || frame[1]&0x80 != 0 {
		t.Fatalf("got first bytes %x, want an unfragmented text message without a mask", frame[:2])
	}
	payload, length := frame[2:], int(frame[1])
	switch length {
	case 126:
		payload, length = frame[4:], int(binary.BigEndian.Uint16(frame[2:]))
	case 127:
		payload, length = frame[10:], int(binary.BigEndian.Uint64(frame[2:]))
	}
	if len(payload) != length {
		t.Fatalf("got %d bytes of payload, want the header's %d", len(payload), length)
	}
	if frame[0]&0x40 == 0 {
		return payload
	}
	in := flate.NewReader(io.MultiReader(bytes.NewReader(payload), bytes.NewReader([]byte("\x00\x00\xff\xff\x01\x00\x00\xff\xff"))))
	json, err := io.ReadAll(in)
	if err != nil {
		t.Fatal(err)
	}
	return json
}

func TestEncodings_CarryTheSnapshot(t *testing.T) {
	for name, n := range map[string]int{"no points": 0, "two": 2, "500": 500, "1000": 1000} {
		t.Run(name, func(t *testing.T) {
			json := encoded("1", 1, points(0, n))
			f := newFrame(t, json, nil)
			keyframe := f.Snapshot.AppendKeyframe(nil)
			for e, want := range map[*encoding][]byte{plainText: json, plainDeflated: json, keyframeText: keyframe, keyframeDeflated: keyframe} {
				if got := open(t, f.as(e)); !bytes.Equal(got, want) {
					t.Errorf("%s: got %.100q, want %.100q", e.label, got, want)
				}
			}
		})
	}
}

func TestEncodings_DeflatedIsSmall(t *testing.T) {
	if got := len(newFrame(t, encoded("1", 1, points(0, 1000)), nil).as(plainDeflated)); got > 15_000 {
		t.Errorf("got %d bytes, want at most 15,000", got)
	}
}

func TestCodec_SendsDeltaOnlyToClientsWithTheBase(t *testing.T) {
	first := newFrame(t, encoded("1", 1, points(0, 1000)), nil)
	second := newFrame(t, encoded("1", 2, points(8, 1000)), first)
	other := newFrame(t, encoded("1", 1, points(0, 1000)), nil)
	gone := stale(t, second)
	live := newFrame(t, encoded("1", 3, points(16, 1000)), gone)
	for name, c := range map[string]struct {
		has, gets *frame
		want      bool
	}{
		"has the base":                           {first, second, true},
		"has another snapshot of the base's seq": {other, second, false},
		"has the same snapshot":                  {second, second, false},
		"the first of all":                       {other, first, false},
		"a stale mark":                           {second, gone, false},
		"has the stale base":                     {gone, live, true},
		"has the base before the stale one":      {second, live, false},
		"another epoch":                          {live, newFrame(t, encoded("2", 4, points(24, 1000)), live), false},
		"a seq was skipped":                      {live, newFrame(t, encoded("1", 5, points(24, 1000)), live), false},
		"no common points":                       {live, newFrame(t, encoded("1", 4, points(5000, 1000)), live), false},
		"the first points":                       {newFrame(t, encoded("1", 1, nil), nil), nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			if c.gets == nil {
				c.gets = newFrame(t, encoded("1", c.has.Snapshot.Seq+1, points(0, 8)), c.has)
			}
			e, got := webSocketCodecs[1][0].pick(c.gets, c.has.ID)
			if (e == deltaText) != c.want {
				t.Errorf("got %s, %.100q, want a delta: %v", e.label, got, c.want)
			}
		})
	}
}

// TestFrame_EncodingIsBuiltOnce: concurrent requests get the same bytes.
func TestFrame_EncodingIsBuiltOnce(t *testing.T) {
	f := newFrame(t, encoded("1", 1, points(0, 1000)), nil)
	var got [20]*byte
	var wg sync.WaitGroup
	for i := range got {
		wg.Go(func() { got[i] = &f.as(keyframeDeflated)[0] })
	}
	wg.Wait()
	for _, p := range got {
		if p != got[0] {
			t.Fatal("got another buffer, want the encoding built once")
		}
	}
}
