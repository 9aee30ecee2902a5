package payment

// Reason says why a transaction gave no payment amounts, or Kept if it did.
type Reason uint8

// The reasons, in the order the rules are asked.
const (
	Kept      Reason = iota // it has amounts that may be payments
	Malformed               // no inputs, no outputs, or an impossible amount
	Coinbase                // the miner's reward
	FanOut                  // more than MaxOutputs outputs: a batch payout, a mixer
	OpReturn                // it carries data: a protocol's transaction
	Repeated                // two outputs of one amount: a mixer, a split, a batch
	Dust                    // nothing above MinAmount
	Round                   // all the rest is round in bitcoin
	numReasons
)

var reasonNames = [numReasons]string{
	"kept", "malformed", "coinbase", "fan_out", "op_return", "repeated", "dust", "round",
}

// String returns a short name in snake_case, fit for a metric's label.
func (r Reason) String() string {
	if r >= numReasons {
		return "unknown"
	}
	return reasonNames[r]
}

// Reasons returns all reasons there are, Kept first.
func Reasons() []Reason {
	all := make([]Reason, numReasons)
	for i := range all {
		all[i] = Reason(i)
	}
	return all
}
