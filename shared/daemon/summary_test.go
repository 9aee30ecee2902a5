package daemon

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

func TestReading_SumsAndGrowth(t *testing.T) {
	reg := prometheus.NewRegistry()
	plain := promauto.With(reg).NewCounter(prometheus.CounterOpts{Name: "plain"})
	one := promauto.With(reg).NewCounterVec(prometheus.CounterOpts{Name: "one"}, []string{"a"})
	two := promauto.With(reg).NewGaugeVec(prometheus.GaugeOpts{Name: "two"}, []string{"a", "b"})
	plain.Add(3)
	one.WithLabelValues("y").Add(2)
	one.WithLabelValues("x").Add(1)
	two.WithLabelValues("x", "1").Set(4)
	two.WithLabelValues("x", "2").Set(5)
	before, err := Read(reg)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]float64{"plain": 3, "one": 3, "two": 9, "absent": 0} {
		if got := before.Sum(name); got != want {
			t.Errorf("the sum of %s: got %v, want %v", name, got, want)
		}
	}
	if got := before["one"]["y"]; got != 2 {
		t.Errorf("one{y}: got %v, want 2", got)
	}
	one.WithLabelValues("z").Add(7)
	one.WithLabelValues("y").Add(1)
	now, err := Read(reg)
	if err != nil {
		t.Fatal(err)
	}
	if got := now.Growth(before, "one"); got != 8 {
		t.Errorf("growth: got %d, want 8", got)
	}
	if got := slog.Group("g", now.GrowthByLabel(before, "one")...).String(); got != "g=[y=1 z=7]" {
		t.Errorf("growth by label: got %s, want y and z", got)
	}
	if got := now.GrowthByLabel(before, "plain"); got != nil {
		t.Errorf("no growth: got %v, want none", got)
	}
}

// TestSummarise_LogsEachIntervalAndAtEnd: except intervals without changes.
func TestSummarise_LogsEachIntervalAndAtEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reg := prometheus.NewRegistry()
		n := promauto.With(reg).NewCounter(prometheus.CounterOpts{Name: "n"})
		var out bytes.Buffer
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			Summarise(ctx, time.Minute, reg, NewLogger(&out, "text", LogLevels{}), "sum", func(before, now Reading) []any {
				if grown := now.Growth(before, "n"); grown > 0 {
					return []any{"n", grown}
				}
				return nil
			})
		}()
		n.Add(2)
		time.Sleep(61 * time.Second)
		time.Sleep(time.Minute) // without changes
		n.Add(3)
		cancel()
		<-ended
		if s := out.String(); strings.Count(s, "msg=sum") != 2 || !strings.Contains(s, "msg=sum n=2") || !strings.Contains(s, "msg=sum n=3") {
			t.Errorf("got %s, want 2 after a minute and 3 at the end", s)
		}
	})
}
