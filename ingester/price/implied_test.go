package price

import (
	"math"
	"testing"

	"sightglass/ingester/payment"
)

func TestImplied_Price(t *testing.T) {
	tests := []struct {
		name   string
		amount payment.Satoshi
		near   USD
		price  USD
		round  USD
		ok     bool
	}{
		{"exact", 200_000, 50_000, 50_000, 100, true},
		{"a little off", 202_000, 50_000, 49_504.95, 100, true},
		{"between two", 188_000, 50_000, 0, 0, true},
		{"below all", 100, 50_000, 0, 0, false},
		{"above all", 100 * payment.Bitcoin, 50_000, 0, 0, false},
		{"zero", 0, 50_000, 0, 0, false},
		{"negative", -1, 50_000, 0, 0, false},
		{"impossible", payment.Max + 1, 50_000, 0, 0, false},
		{"no price", 200_000, 0, 0, 0, false},
		{"negative price", 200_000, -1, 0, 0, false},
		{"no number", 200_000, USD(math.NaN()), 0, 0, false},
		{"infinite price", 200_000, USD(math.Inf(1)), 0, 0, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p, round, ok := Implied(tt.amount, tt.near)
			if ok != tt.ok || tt.round != 0 && round != tt.round || tt.price != 0 && math.Abs(float64(p-tt.price)) > 0.01 {
				t.Errorf("Implied = %v, %v, %v", p, round, ok)
			}
			if ok && (p < tt.near*0.9 || p > tt.near*1.1) {
				t.Errorf("implied %v is over 10 %% from %v", p, tt.near)
			}
		})
	}
}
