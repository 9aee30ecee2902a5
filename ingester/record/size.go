package record

import (
	"fmt"
	"strconv"
	"strings"
)

// A Size is a number of bytes.
type Size int64

// Common sizes.
const (
	MB Size = 1e6
	GB Size = 1e9
)

// units are in the order in which they are tried: longer suffixes first.
var units = []struct {
	name  string
	bytes float64
}{
	{"KIB", 1 << 10}, {"MIB", 1 << 20}, {"GIB", 1 << 30}, {"TIB", 1 << 40},
	{"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12}, {"B", 1}, {"", 1},
}

// UnmarshalText parses sizes such as 500MB, 1.5GB (of 10^9) and 1GiB (of 2^30), or plain bytes.
func (s *Size) UnmarshalText(text []byte) error {
	upper := strings.ToUpper(strings.TrimSpace(string(text)))
	for _, u := range units {
		number, ok := strings.CutSuffix(upper, u.name)
		if !ok {
			continue
		}
		v, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
		if err != nil || !(v >= 0) || v*u.bytes >= 1<<62 {
			break
		}
		*s = Size(v * u.bytes)
		return nil
	}
	return fmt.Errorf("size %q: want a number of bytes, or one with a unit such as 500MB, 2GB or 1GiB", text)
}

func (s Size) String() string {
	for _, u := range []struct {
		name  string
		bytes Size
	}{{"GB", GB}, {"MB", MB}} {
		if s >= u.bytes && s%u.bytes == 0 {
			return fmt.Sprintf("%d%s", s/u.bytes, u.name)
		}
	}
	return fmt.Sprintf("%d bytes", int64(s))
}
