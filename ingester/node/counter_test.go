package node

import (
	"slices"
	"testing"
)

func TestCounter_Check(t *testing.T) {
	type message struct {
		number uint32
		body   string
	}
	for name, c := range map[string]struct {
		messages []message
		verdicts []verdict
		missing  uint32
	}{
		"none missing":            {[]message{{5, "a"}, {6, "b"}, {7, "c"}}, []verdict{inOrder, inOrder, inOrder}, 0},
		"the first is no gap":     {[]message{{1000, "a"}}, []verdict{inOrder}, 0},
		"four missing":            {[]message{{5, "a"}, {10, "b"}}, []verdict{inOrder, gap}, 4},
		"the counter wraps":       {[]message{{1<<32 - 1, "a"}, {0, "b"}, {1, "c"}}, []verdict{inOrder, inOrder, inOrder}, 0},
		"one missing at the wrap": {[]message{{1<<32 - 1, "a"}, {1, "b"}}, []verdict{inOrder, gap}, 1},
		"the node restarts":       {[]message{{500, "a"}, {0, "b"}, {1, "c"}}, []verdict{inOrder, restarted, inOrder}, 0},
		"a restart after few":     {[]message{{3, "a"}, {0, "b"}}, []verdict{inOrder, restarted}, 0},
		"a restart, then a gap":   {[]message{{500, "a"}, {20, "b"}, {22, "c"}}, []verdict{inOrder, restarted, gap}, 1},
		"a repeated message":      {[]message{{5, "a"}, {5, "a"}, {6, "b"}}, []verdict{inOrder, repeated, inOrder}, 0},
		"an old message repeated": {[]message{{5, "a"}, {6, "b"}, {7, "c"}, {5, "a"}, {8, "d"}}, []verdict{inOrder, inOrder, inOrder, repeated, inOrder}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			var counter counter
			var got []verdict
			var missing uint32
			for _, m := range c.messages {
				v, n := counter.check(m.number, []byte(m.body))
				got, missing = append(got, v), missing+n
			}
			if !slices.Equal(got, c.verdicts) || missing != c.missing {
				t.Errorf("got %v and %d missing, want %v and %d", got, missing, c.verdicts, c.missing)
			}
		})
	}
}
