package price

import (
	"errors"
	"math"
	"math/rand"
	"slices"
	"testing"
	"time"

	"sightglass/ingester/payment"
)

func TestEngine_NoPriceAtFirst(t *testing.T) {
	for _, o := range []Options{{}, {Near: 50_000}} {
		if got := newEngine(t, o).Estimate(start); got != (Estimate{}) {
			t.Errorf("with %v: %+v", o, got)
		}
	}
}

func TestNew_RejectsBadOptions(t *testing.T) {
	for name, o := range map[string]Options{
		"negative hint":   {Near: -1},
		"no number":       {Near: USD(math.NaN())},
		"tiny hint":       {Near: 0.5},
		"huge hint":       {Near: 1e9},
		"no shares":       {Rungs: []Rung{}},
		"all is round":    {Rungs: []Rung{{100, 1}}},
		"zero dollars":    {Rungs: []Rung{{0, 0.1}}},
		"negative share":  {Rungs: []Rung{{1, -0.1}, {2, 0.2}}},
		"infinite dollar": {Rungs: []Rung{{USD(math.Inf(1)), 0.1}}},
	} {
		if _, err := New(o); !errors.Is(err, ErrOptions) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestEngine_FindsPrice(t *testing.T) {
	for _, truth := range []float64{950, 73_300, 250_000} {
		e := newEngine(t, Options{})
		end := play(e, newCrowd(1), 0, 600, always(truth), nil)
		got := e.Estimate(second(end))
		if off(got.Price, truth) > 0.005 || got.Status != Live || got.Confidence < 0.8 {
			t.Errorf("at %v: %+v", truth, got)
		}
		if float64(got.Low) > truth || float64(got.High) < truth {
			t.Errorf("at %v: interval %v to %v", truth, got.Low, got.High)
		}
	}
}

func TestEngine_OneTransactionIsNotEnough(t *testing.T) {
	e := newEngine(t, Options{})
	e.Add(start, newCrowd(1).pay(50_000))
	if got := e.Estimate(start); got.Status != Warming || got.Confidence > 0.2 {
		t.Errorf("%+v", got)
	}
}

func TestEngine_FollowsHintWithinTenPercent(t *testing.T) {
	for _, hint := range []float64{0.9, 1, 1.1} {
		e := newEngine(t, Options{Near: USD(50_000 * hint)})
		end := play(e, newCrowd(2), 0, 120, always(50_000), nil)
		if got := e.Estimate(second(end)); off(got.Price, 50_000) > 0.005 {
			t.Errorf("hint off by %v: %+v", hint, got)
		}
	}
}

func TestEngine_LeavesWrongHint(t *testing.T) {
	e := newEngine(t, Options{Near: 25_000})
	end := play(e, newCrowd(3), 0, 3600, always(50_000), nil)
	if got := e.Estimate(second(end)); off(got.Price, 50_000) > 0.01 {
		t.Errorf("after an hour: %+v", got)
	}
}

// TestEngine_IgnoresOrder adds the same stream forwards with a tick every
// five seconds, and shuffled without one until the end.
func TestEngine_IgnoresOrder(t *testing.T) {
	type seen struct {
		at      time.Time
		amounts []payment.Satoshi
	}
	c := newCrowd(4)
	var all []seen
	for s := range 1200 {
		for range 7 {
			all = append(all, seen{second(s), c.pay(50_000)})
		}
	}
	forwards := newEngine(t, Options{})
	for _, x := range all {
		forwards.Add(x.at, x.amounts)
		if x.at.Unix()%5 == 0 {
			forwards.Estimate(x.at)
		}
	}
	rand.New(rand.NewSource(5)).Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	shuffled := newEngine(t, Options{})
	for _, x := range all {
		shuffled.Add(x.at, x.amounts)
	}
	a, b := forwards.Estimate(second(1200)), shuffled.Estimate(second(1200))
	if off(a.Price, float64(b.Price)) > 0.001 || math.Abs(a.Confidence-b.Confidence) > 0.05 {
		t.Errorf("forwards %+v, shuffled %+v", a, b)
	}
}

// TestEngine_WarmStart fills an hour newest first while live transactions arrive.
func TestEngine_WarmStart(t *testing.T) {
	e := newEngine(t, Options{})
	live, old := newCrowd(6), newCrowd(7)
	past := -1
	for s := range 60 {
		play(e, live, s, 1, always(50_000), nil)
		for range 60 {
			play(e, old, past, 1, always(50_000), nil)
			past--
		}
		e.Estimate(second(s))
	}
	if got := e.Estimate(second(60)); off(got.Price, 50_000) > 0.003 || got.Status != Live {
		t.Errorf("%+v", got)
	}
}

func TestEngine_RemoveUndoesAdd(t *testing.T) {
	with, without := newEngine(t, Options{}), newEngine(t, Options{})
	extra := newCrowd(8)
	for _, e := range []*Engine{with, without} {
		play(e, newCrowd(9), 0, 150, always(50_000), nil)
		e.Estimate(second(150))
	}
	var taken [][]payment.Satoshi
	for range 200 {
		amounts := extra.pay(40_000)
		taken = append(taken, amounts)
		with.Add(second(30), amounts)
		with.Add(second(150), amounts)
		with.Estimate(second(150))
	}
	for _, amounts := range taken {
		with.Remove(second(150), amounts)
		with.Remove(second(30), amounts)
	}
	a, b := with.Estimate(second(240)), without.Estimate(second(240))
	if off(a.Price, float64(b.Price)) > 1e-4 || math.Abs(a.Confidence-b.Confidence) > 0.01 || a.Outputs != b.Outputs {
		t.Errorf("after taking back %+v, never added %+v", a, b)
	}
}

func TestEngine_RemoveIgnoresUnknown(t *testing.T) {
	e := newEngine(t, Options{})
	play(e, newCrowd(10), 0, 60, always(50_000), nil)
	want := e.Estimate(second(60))
	e.Remove(second(30), []payment.Satoshi{1, -5, payment.Max + 1})
	e.Remove(second(-100_000), newCrowd(1).pay(1))
	e.Remove(second(100_000), newCrowd(1).pay(1))
	if got := e.Estimate(second(60)); got != want {
		t.Errorf("%+v, before %+v", got, want)
	}
}

func TestEngine_OldOutputsExpire(t *testing.T) {
	e := newEngine(t, Options{})
	play(e, newCrowd(11), 0, 60, always(50_000), nil)
	e.Add(second(-4*3600), newCrowd(1).pay(50_000)) // too old to be counted at all
	if got := e.Estimate(second(60)).Outputs; got != 60*7*2 {
		t.Errorf("%d outputs", got)
	}
	if got := e.Estimate(second(60 + int(windowMinutes)*60)); got.Outputs != 0 || got.Confidence > 0.5 {
		t.Errorf("after three hours of nothing: %+v", got)
	}
}

// TestEngine_LongRun passes the point where the base moves on, several times.
func TestEngine_LongRun(t *testing.T) {
	e := newEngine(t, Options{Near: 50_000})
	c := newCrowd(12)
	for minute := range 7 * 60 {
		for range 40 {
			e.Add(second(minute*60), c.pay(50_000))
		}
		got := e.Estimate(second(minute*60 + 30))
		if minute > 30 && off(got.Price, 50_000) > 0.01 {
			t.Fatalf("minute %d: %+v", minute, got)
		}
	}
	if e.timeline.baseAt < e.window.oldest()-1 {
		t.Errorf("base at %d is older than the window's %d", e.timeline.baseAt, e.window.oldest())
	}
}

func TestEngine_IgnoresBadAmounts(t *testing.T) {
	e := newEngine(t, Options{})
	e.Add(start, nil)
	e.Add(start, []payment.Satoshi{0, -1, math.MinInt64, math.MaxInt64, payment.Max + 1})
	if got := e.Estimate(start); got.Outputs != 0 || got.Status != Warming {
		t.Errorf("impossible amounts were taken: %+v", got)
	}
	e.Add(start, []payment.Satoshi{1, payment.Max})
	got := e.Estimate(start)
	for _, v := range []float64{float64(got.Price), float64(got.Low), float64(got.High), got.Confidence} {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			t.Errorf("%+v", got)
		}
	}
}

func TestEngine_StrangeTimes(t *testing.T) {
	e := newEngine(t, Options{})
	for _, at := range []time.Time{{}, time.Unix(-90, 0), time.Unix(0, 0), start} {
		e.Add(at, newCrowd(1).pay(50_000))
		e.Estimate(at)
	}
	if got := e.Estimate(start.Add(-time.Hour)); got.Outputs != 2 { // a clock set back
		t.Errorf("%+v", got)
	}
}

// TestEngine_RepeatedAmount has somebody send one amount a dozen times a minute for
// hours, such as to make the price another by a factor or a few per cent.
func TestEngine_RepeatedAmount(t *testing.T) {
	for _, lie := range []float64{0.9, 1.05, 2} {
		e := newEngine(t, Options{})
		c := newCrowd(14)
		amount := payment.Satoshi(100 / (50_000 * lie) * 1e8)
		for s := range 3600 {
			if s%5 == 0 {
				e.Add(second(s), []payment.Satoshi{amount})
			}
			play(e, c, s, 1, always(50_000), nil)
			if s%60 == 0 && s > 900 {
				if got := e.Estimate(second(s)); off(got.Price, 50_000) > 0.005 {
					t.Fatalf("lie of %v after %d s: %+v", lie, s, got)
				}
			}
		}
	}
}

func TestEngine_RepeatedAmountsCountLittle(t *testing.T) {
	e := newEngine(t, Options{})
	end := play(e, newCrowd(13), 0, 600, always(50_000), nil)
	pile := make([]payment.Satoshi, 10_000)
	for i := range pile {
		pile[i] = 205_000 // 100 dollars at 48,780
	}
	e.Add(second(end-1), pile)
	if got := e.Estimate(second(end)); off(got.Price, 50_000) > 0.005 {
		t.Errorf("%+v", got)
	}
}

// TestEngine_FloodIsBounded: what one minute keeps has a limit, and removing what never fitted harms nothing.
func TestEngine_FloodIsBounded(t *testing.T) {
	e := newEngine(t, Options{})
	flood := slices.Repeat([]payment.Satoshi{123_456}, 1000)
	for range 2 * minuteLimit / len(flood) {
		e.Add(start, flood)
	}
	if e.window.total != minuteLimit {
		t.Errorf("keeps %d outputs of one minute, want %d", e.window.total, minuteLimit)
	}
	for range 2 * minuteLimit / len(flood) {
		e.Remove(start, flood)
	}
	if e.window.total != 0 {
		t.Errorf("%d outputs are left", e.window.total)
	}
}
