package hub_test

import (
	"log/slog"
	"testing"

	"github.com/fasthttp/websocket"
	"github.com/prometheus/client_golang/prometheus"

	"sightglass/edge/hub"
	"sightglass/edge/internal/edgetest"
	"sightglass/shared/logtest"
)

func TestHub_LogsConnections(t *testing.T) {
	var log logtest.Log
	h, url, reg := serveLogged(t, patient(), slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	conn := dial(t, url, true)
	edgetest.Until(t, "the client to join", func() bool { return h.Len() == 1 })
	f := frame(t, 1, 10)
	h.Broadcast(f)
	expect(t, conn, f)
	ping := []byte(`{"type":"ping"}`)
	if err := conn.WriteMessage(websocket.TextMessage, ping); err != nil {
		t.Fatal(err)
	}
	if err := conn.WriteMessage(websocket.BinaryMessage, ping); err != nil {
		t.Fatal(err)
	}
	edgetest.Until(t, "the client to leave", func() bool { return log.Find(t, "client left") != nil })
	joined, left := log.Find(t, "client joined"), log.Find(t, "client left")
	for _, c := range []struct {
		key  string
		want any
	}{{"addr", "127.0.0.1"}, {"protocol", "plain_deflated"}} {
		if joined[c.key] != c.want || left[c.key] != c.want {
			t.Errorf("%s: got %v on joining and %v on leaving, want %v", c.key, joined[c.key], left[c.key], c.want)
		}
	}
	if left["code"] != 1003.0 || left["reason"] != "text messages only" || left["frames"] != 1.0 {
		t.Errorf("got %v, want code 1003 and one frame", left)
	}
	if sent := gauge(t, reg, "sightglass_client_bytes_total"); left["bytes"] != sent || sent == 0 {
		t.Errorf("got %v bytes, want %v", left["bytes"], sent)
	}
	if s, ok := left["seconds"].(float64); !ok || s < 0 {
		t.Errorf("got %v, want a duration", left)
	}
	for kind, want := range map[string]float64{"text": 1, "binary": 1, "ping": 0, "pong": 0, "close": 0} {
		if n := labelled(t, reg, "sightglass_client_messages_total", kind); n != want {
			t.Errorf("got %v messages of kind %s, want %v", n, kind, want)
		}
	}
}

// TestMetrics_EveryCloseCodeHasSeries: Prometheus does not see the first increase of a counter that starts with it.
func TestMetrics_EveryCloseCodeHasSeries(t *testing.T) {
	reg := prometheus.NewRegistry()
	hub.New(patient(), reg)
	for _, code := range []string{"left", "1001", "1002", "1003", "1007", "1008", "1009", "4008", "4029", "4030"} {
		if !has(t, reg, "sightglass_client_closed_total", code) {
			t.Errorf("got no series for %s", code)
		}
	}
}

func has(t testing.TB, reg prometheus.Gatherer, name, value string) bool {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			if family.GetName() == name && m.GetLabel()[0].GetValue() == value {
				return true
			}
		}
	}
	return false
}
