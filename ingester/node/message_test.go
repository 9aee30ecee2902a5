package node

import (
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"sightglass/ingester/testblock"
	"sightglass/ingester/transcript"
)

const (
	// tx is the first transaction of all.
	tx   = "01000000010000000000000000000000000000000000000000000000000000000000000000ffffffff4d04ffff001d0104455468652054696d65732030332f4a616e2f32303039204368616e63656c6c6f72206f6e206272696e6b206f66207365636f6e64206261696c6f757420666f722062616e6b73ffffffff0100f2052a01000000434104678afdb0fe5548271967f1a67130b7105cd6a828e03909a67962e0ea1f61deb649f6bc3f4cef38c4f35504e51ec112de5c384df7ba0b8d578a4c702b6bf11d5fac00000000"
	txid = "4a5e1e4baab89f3a32518a88c31bc87f618f76673e2cc77ab2127b7afdeda33b"
)

// frames makes a message: a topic, a body in hex, and a counter in hex.
func frames(t testing.TB, topic, body, counter string) [][]byte {
	t.Helper()
	b, err := hex.DecodeString(body)
	c, err2 := hex.DecodeString(counter)
	if err := errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	return [][]byte{[]byte(topic), b, c}
}

func TestDecode_ValidMessages(t *testing.T) {
	const number = "0700000000000000"
	for name, c := range map[string]struct {
		topic, body string
		letter      byte
		number      uint64
	}{
		"a transaction":        {"rawtx", tx, 0, 0},
		"a removal":            {"sequence", txid + hex.EncodeToString([]byte("R")) + number, transcript.Removed, 7},
		"an addition":          {"sequence", txid + hex.EncodeToString([]byte("A")) + number, transcript.Added, 7},
		"a block connected":    {"sequence", txid + hex.EncodeToString([]byte("C")), transcript.Connected, 0},
		"a block disconnected": {"sequence", txid + hex.EncodeToString([]byte("D")), transcript.Disconnected, 0},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := decode(frames(t, c.topic, c.body, "ff010000"))
			if err != nil {
				t.Fatal(err)
			}
			if m.topic != c.topic || m.counter != 0x1ff || m.letter != c.letter || m.number != c.number || m.id.String() != txid {
				t.Errorf("got %+v, want the case's letter and number", m)
			}
			if (m.tx != nil) != (c.letter == 0) {
				t.Errorf("%c: got transaction %v, want it with rawtx alone", c.letter, m.tx)
			}
		})
	}
}

func TestDecode_RejectsMalformed(t *testing.T) {
	id := strings.Repeat("ab", 32)
	for name, c := range map[string]struct {
		frames [][]byte
		want   error
		reason string
	}{
		"no frames":                    {nil, errFrames, "frames"},
		"two frames":                   {frames(t, "rawtx", tx, "00000000")[:2], errFrames, "frames"},
		"four frames":                  {append(frames(t, "rawtx", tx, "00000000"), nil), errFrames, "frames"},
		"a short counter":              {frames(t, "rawtx", tx, "0000"), errCounter, "counter"},
		"a long counter":               {frames(t, "rawtx", tx, "0000000000000000"), errCounter, "counter"},
		"a topic with our prefix":      {frames(t, "rawtx2", tx, "00000000"), errTopic, "topic"},
		"a topic of another kind":      {frames(t, "hashblock", id, "00000000"), errTopic, "topic"},
		"half a transaction":           {frames(t, "rawtx", tx[:200], "00000000"), errTransaction, "transaction"},
		"random bytes":                 {frames(t, "rawtx", "deadbeef", "00000000"), errTransaction, "transaction"},
		"an empty transaction":         {frames(t, "rawtx", "", "00000000"), errTransaction, "transaction"},
		"an empty sequence":            {frames(t, "sequence", "", "00000000"), errSequence, "sequence"},
		"an unknown letter":            {frames(t, "sequence", id+"58", "00000000"), errSequence, "sequence"},
		"a removal without its number": {frames(t, "sequence", id+"52", "00000000"), errSequence, "sequence"},
		"a block with a number":        {frames(t, "sequence", id+"43"+"0000000000000000", "00000000"), errSequence, "sequence"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := decode(c.frames)
			if !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
			if got := reason(err); got != c.reason {
				t.Errorf("got it counted as %q, want %q", got, c.reason)
			}
		})
	}
}

func FuzzDecode(f *testing.F) {
	good := frames(f, "rawtx", tx, "00000000")
	f.Add(good[0], good[1], good[2])
	f.Add([]byte("sequence"), []byte(strings.Repeat("x", 32)+"R12345678"), []byte{1, 2, 3, 4})
	f.Add([]byte("sequence"), []byte(strings.Repeat("x", 32)+"C"), []byte{1, 2, 3, 4})
	f.Add([]byte(""), []byte(""), []byte(""))
	for _, raw := range testblock.Hostile() {
		f.Add([]byte("rawtx"), raw, []byte{1, 2, 3, 4})
	}
	f.Fuzz(func(t *testing.T, topic, body, counter []byte) {
		m, err := decode([][]byte{topic, body, counter})
		if err == nil && m.letter == 0 && m.tx == nil {
			t.Error("got neither a transaction nor a change, want one")
		}
	})
}
