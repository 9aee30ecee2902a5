package publish

import (
	"errors"
	"testing"
)

// TestJudgeEviction_Policies judges outputs of INFO memory.
func TestJudgeEviction_Policies(t *testing.T) {
	for name, c := range map[string]struct {
		info           string
		evicts, failed bool
	}{
		"noeviction":             {"# Memory\r\nmaxmemory:268435456\r\nmaxmemory_policy:noeviction\r\n", false, false},
		"no limit":               {"maxmemory:0\r\nmaxmemory_policy:allkeys-lru\r\n", false, false},
		"all keys":               {"maxmemory:268435456\r\nmaxmemory_policy:allkeys-lru\r\n", true, true},
		"keys with a TTL":        {"maxmemory:268435456\r\nmaxmemory_policy:volatile-ttl\r\n", true, true},
		"no output":              {"", false, true},
		"a policy, but no limit": {"maxmemory_policy:allkeys-lru\r\n", false, true},
	} {
		t.Run(name, func(t *testing.T) {
			err := judgeEviction(c.info)
			if errors.Is(err, ErrEvicts) != c.evicts || (err != nil) != c.failed {
				t.Errorf("got %v, want evicts: %v, an error: %v", err, c.evicts, c.failed)
			}
		})
	}
}
