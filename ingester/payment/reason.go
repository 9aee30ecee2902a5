package payment

// Reason says why a transaction gave no payment amounts, or Kept if it did.
type Reason uint8

// The reasons, in the order the rules are asked.
const (
	Kept      Reason = iota // it has amounts that may be payments
	Malformed               // no inputs, no outputs, or an impossible amount
	Coinbase                // the miner's reward
	FanOut                  // more than MaxOutputs outputs
	OpReturn                // it carries data: a protocol's transaction
	Token                   // it reveals an inscription, or a token's transaction spends it
	Dust                    // nothing of MinAmount or more
	Round                   // what is left is round in bitcoin
	Repeated                // what is left comes twice: a mixer, a split, a batch
	Change                  // what is left goes back to the payer
	numReasons
)

var reasonNames = [numReasons]string{
	"kept", "malformed", "coinbase", "fan_out", "op_return", "token", "dust", "round", "repeated", "change",
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
