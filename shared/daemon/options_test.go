package daemon

import (
	"testing"
	"time"
)

func TestChecks_NameSettingAndRange(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		want string // empty: none
	}{
		"listen":                   {CheckListen("listen", "127.0.0.1:8080"), ""},
		"listen, all addresses":    {CheckListen("listen", ":8080"), ""},
		"listen, no port":          {CheckListen("listen", "127.0.0.1"), `--listen "127.0.0.1": want HOST:PORT, such as 127.0.0.1:8080 or :8080`},
		"listen, empty":            {CheckListen("listen", ""), `--listen "": want HOST:PORT, such as 127.0.0.1:8080 or :8080`},
		"internal listen, empty":   {CheckInternalListen(""), ""},
		"internal listen, no port": {CheckInternalListen("z"), `--internal-listen "z": want HOST:PORT, such as 127.0.0.1:8080 or :8080`},
		"summary, never":           {checkLogSummary(0), ""},
		"summary, too often":       {checkLogSummary(time.Millisecond), "--log-summary 1ms: want 1s to 24h0m0s"},
		"range, least":             {CheckRange("n", 1, 1, 2), ""},
		"range, below":             {CheckRange("n", 0, 1, 2), "--n 0: want 1 to 2"},
		"range, above":             {CheckRange("n", 3, 1, 2), "--n 3: want 1 to 2"},
		"at least":                 {CheckAtLeast("n", 1, 1), ""},
		"too few":                  {CheckAtLeast("n", -1, 0), "--n -1: want 0 or more"},
		"redis":                    {RedisOptions{Redis: "redis://127.0.0.1:1"}.CheckRedis(), ""},
		"redis, certificate alone": {RedisOptions{Redis: "rediss://127.0.0.1:1", RedisCert: "c"}.CheckRedis(), "--redis-cert and --redis-key must be set together: one of them is missing"},
		"redis, absent password":   {RedisOptions{Redis: "redis://127.0.0.1:1", RedisPasswordFile: "absent"}.CheckRedis(), "--redis-password-file: open absent: no such file or directory"},
		"redis, absent CA":         {RedisOptions{Redis: "rediss://127.0.0.1:1", RedisCA: "absent"}.CheckRedis(), "--redis-ca: open absent: no such file or directory"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := message(c.err); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func message(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
