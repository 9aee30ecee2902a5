package history

import "strconv"

// Slot is the length of a slot of the recent series, in seconds. Each slot has at most one entry: a later one replaces it.
const Slot = 10

// An Entry is the price at one time.
type Entry struct {
	Timestamp  int64   // when it was computed, or a block's own time; unix seconds
	Price      float64 // USD per bitcoin, 2 decimals
	Low, High  float64 // 90 % credible interval in USD, 2 decimals
	Confidence float64 // probability, 0 to 1, that the true price is within 1 % of Price, 3 decimals
}

// Slot returns the first second of the entry's slot.
func (e Entry) Slot() int64 { return e.Timestamp / Slot * Slot }

// AppendJSON appends the entry's JSON to dst, [timestamp,price,low,high,confidence], and returns the extended buffer.
// It is an array because a browser fetches thousands of entries at once. Numbers must be finite.
func (e Entry) AppendJSON(dst []byte) []byte { return append(e.appendMembers(dst), ']') }

func (e Entry) appendMembers(dst []byte) []byte {
	dst = strconv.AppendInt(append(dst, '['), e.Timestamp, 10)
	for _, usd := range [...]float64{e.Price, e.Low, e.High} {
		dst = appendUSD(dst, usd)
	}
	return appendProbability(dst, e.Confidence)
}

var entryFields = []field{timeField, usdField("price"), usdField("low"), usdField("high"), confidenceField}

// DecodeEntry decodes one entry. Errors wrap ErrInvalid.
func DecodeEntry(data []byte) (Entry, error) {
	var v [5]float64
	if err := decode(data, entryFields, v[:]); err != nil {
		return Entry{}, err
	}
	return entryOf(v[:]), nil
}

func entryOf(v []float64) Entry {
	return Entry{Timestamp: int64(v[0]), Price: v[1], Low: v[2], High: v[3], Confidence: v[4]}
}

// A Block is the price that the payments in one block show.
type Block struct {
	Entry        // at the median of the header's time and of those of the five blocks on either side
	Height int64 // in the active chain
}

// AppendJSON appends the block's JSON to dst, [timestamp,price,low,high,confidence,height], and returns the extended
// buffer: an entry with one more member. Numbers must be finite.
func (b Block) AppendJSON(dst []byte) []byte {
	return append(appendWhole(b.appendMembers(dst), b.Height), ']')
}

var blockFields = append(entryFields[:len(entryFields):len(entryFields)], field{"height", maxHeight})

// DecodeBlock decodes one block. Errors wrap ErrInvalid.
func DecodeBlock(data []byte) (Block, error) {
	var v [6]float64
	if err := decode(data, blockFields, v[:]); err != nil {
		return Block{}, err
	}
	return Block{Entry: entryOf(v[:]), Height: int64(v[5])}, nil
}
