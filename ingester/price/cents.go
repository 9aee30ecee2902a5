package price

import "math"

// Cents is the price rounded to cents, in dollars: how prices leave the program.
func (p USD) Cents() float64 { return math.Round(float64(p)*100) / 100 }
