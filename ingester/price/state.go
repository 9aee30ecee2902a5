package price

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"time"
)

// The errors of Restore.
var (
	ErrStateBroken = errors.New("price: state is broken")
	ErrStateAlien  = errors.New("price: state is of another engine or version")
	ErrStateStale  = errors.New("price: state is older than the window")
	ErrStateLate   = errors.New("price: state comes after transactions")
)

// A state is a header, the minute it is of, the belief, the background, the ladder's strength and a checksum; numbers
// are little endian, densities float32, others float64. Version 1 had no strength; it is read as not known.
const (
	stateMagic   = "SGprice" // then the version
	stateFormat  = 2         // to be raised with any change of what numbers mean
	stateHeader  = len(stateMagic) + 1 + 2 + 2 + 2
	stateSize    = stateHeader + 8 + 4*priceCells + 4*numBins + 8 + strengthSize + 4
	strengthSize = 12 * 8
)

// restoredWeight is how many outputs the background of a state counts for, once
// restored: enough to read the first minutes' outputs by, little against a
// window's.
const restoredWeight = 1000

// State returns the belief as of the last minute that is over, for Restore: 69 kB.
// It returns nil while no minute with evidence is over.
func (e *Engine) State() []byte {
	t := &e.timeline
	if t.closedAt == never || t.baseAt == never && t.middleAt > t.closedAt {
		return nil
	}
	s := make([]byte, 0, stateSize)
	s = appendHeader(s, stateFormat)
	s = binary.LittleEndian.AppendUint64(s, uint64(t.closedAt))
	for _, p := range t.closed {
		s = appendFloat(s, p)
	}
	for _, d := range e.background.logDensity {
		s = appendFloat(s, math.Exp(d))
	}
	s = binary.LittleEndian.AppendUint64(s, math.Float64bits(e.background.mean))
	for _, f := range t.strength.fields() {
		s = binary.LittleEndian.AppendUint64(s, math.Float64bits(*f))
	}
	return binary.LittleEndian.AppendUint32(s, crc32.ChecksumIEEE(s))
}

func appendHeader(s []byte, format byte) []byte {
	s = append(s, stateMagic...)
	s = append(s, format)
	s = binary.LittleEndian.AppendUint16(s, cellsPerDecade)
	s = binary.LittleEndian.AppendUint16(s, priceCells)
	return binary.LittleEndian.AppendUint16(s, numBins)
}

func appendFloat(s []byte, v float64) []byte {
	return binary.LittleEndian.AppendUint32(s, math.Float32bits(float32(v)))
}

// Restore takes up the belief an earlier engine had, instead of a hint. Outputs
// of minutes that belief knows already are kept but not counted again. It comes
// before any Add. A state that is broken, of another version, or older than the
// window leaves the engine as it was; the error says which (ErrStateBroken,
// ErrStateAlien, ErrStateStale, ErrStateLate).
func (e *Engine) Restore(state []byte, now time.Time) error {
	if e.window.newest != never {
		return ErrStateLate
	}
	size := stateSize
	switch {
	case bytes.HasPrefix(state, appendHeader(nil, stateFormat)):
	case bytes.HasPrefix(state, appendHeader(nil, 1)):
		size -= strengthSize
	default:
		return ErrStateAlien
	}
	if len(state) != size {
		return fmt.Errorf("%w: %d bytes instead of %d", ErrStateBroken, len(state), size)
	}
	body := state[:size-4]
	if crc32.ChecksumIEEE(body) != binary.LittleEndian.Uint32(state[size-4:]) {
		return fmt.Errorf("%w: wrong checksum", ErrStateBroken)
	}
	body = body[stateHeader:]
	minute := int64(binary.LittleEndian.Uint64(body))
	if err := checkAge(minute, minuteOf(now)); err != nil {
		return err
	}
	var b belief
	var density [numBins]float64
	body = readFloats(b[:], body[8:])
	body = readFloats(density[:], body)
	mean := math.Float64frombits(binary.LittleEndian.Uint64(body))
	var s strength
	if body = body[8:]; len(body) > 0 {
		for i, f := range s.fields() {
			*f = math.Float64frombits(binary.LittleEndian.Uint64(body[8*i:]))
		}
	}
	if !isBelief(b[:]) || !isDensity(density[:]) || !(mean > 0 && mean < 16) || !s.isSane() {
		return fmt.Errorf("%w: impossible numbers", ErrStateBroken)
	}
	b.normalise()
	e.resume(&b, &density, mean, s, minute)
	return nil
}

// resume starts over from a restored belief.
func (e *Engine) resume(b *belief, density *[numBins]float64, mean float64, s strength, minute int64) {
	e.timeline = newTimeline()
	e.timeline.base, e.timeline.baseStrength, e.timeline.baseAt = *b, s, minute
	e.background = newBackground()
	e.background.prior, e.background.priorWeight, e.background.mean = *density, restoredWeight, mean
	e.background.update(e.window.counts, 0)
	e.fresh = false
}

func checkAge(minute, now int64) error {
	age := now - minute
	switch {
	case minute > now:
		return fmt.Errorf("%w: it is from the future", ErrStateBroken)
	case age >= windowMinutes || age < 0:
		return fmt.Errorf("%w: %d minutes old, the window is %d", ErrStateStale, age, windowMinutes)
	}
	return nil
}

func readFloats(dst []float64, src []byte) (rest []byte) {
	for i := range dst {
		dst[i] = float64(math.Float32frombits(binary.LittleEndian.Uint32(src[4*i:])))
	}
	return src[4*len(dst):]
}

// isBelief reports whether b could be a belief, up to its rounding.
func isBelief(b []float64) bool {
	sum := 0.0
	for _, p := range b {
		if !(p >= 0 && p <= 1.001) {
			return false
		}
		sum += p
	}
	return math.Abs(sum-1) < 0.001
}

func isDensity(density []float64) bool {
	for _, d := range density {
		if !(d >= 0 && d < 1) {
			return false
		}
	}
	return true
}
