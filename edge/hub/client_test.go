package hub

import (
	"encoding/json"
	"testing"
)

func FuzzPongTo(f *testing.F) {
	f.Add([]byte(`{"type":"ping","timestamp":1556771671.25}`))
	f.Add([]byte(`{"type":"ping"}`))
	f.Add([]byte(`{"type":"buy"}`))
	f.Add([]byte(`{"type":"ping","timestamp":{"a":[null]}}`))
	f.Add([]byte(`nonsense`))
	f.Fuzz(func(t *testing.T, message []byte) {
		if pong, ok := pongTo(message); ok && !json.Valid(pong) {
			t.Errorf("%q: got %q, want JSON", message, pong)
		}
	})
}
