package redisurl

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
)

// An answer is an error of the library for a server's error reply.
type answer string

func (a answer) Error() string { return string(a) }
func (answer) RedisError()     {}

// TestExplain_NamesCauseAndAdvice: errors distinguish Redis's replies from missing ones, and have advice.
// infra/test/e2e gets most of them from real servers.
func TestExplain_NamesCauseAndAdvice(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string // prefix
		do   string // advice
	}{
		{answer("NOAUTH Authentication required."), "redis returned an error: NOAUTH", "--redis-password-file"},
		{answer("LOADING Redis is loading the dataset in memory"), "redis returned an error: LOADING", "wait"},
		{answer("BUSY Redis is busy running a script."), "redis returned an error: BUSY", "SCRIPT KILL"},
		{answer("MASTERDOWN Link with MASTER is down"), "redis returned an error: MASTERDOWN", "failover"},
		{answer("NOREPLICAS Not enough good replicas to write."), "redis returned an error: NOREPLICAS", "min-replicas-to-write"},
		{answer("DENIED Redis is running in protected mode"), "redis returned an error: DENIED", "protected mode"},
		{answer("ERR unknown command 'EVALSHA', with args beginning with: "), "redis returned an error: ERR unknown command", "7.0 or newer"},
		{answer("EXECABORT Transaction discarded because of previous errors."), "redis returned an error: EXECABORT", "maxmemory"},
		{answer("ERR something of a later version"), "redis returned an error: ERR something", ""},
		{fmt.Errorf("reading sightglass:latest: %w", answer("READONLY You can't write against a read only replica.")), "redis returned an error: reading", "the master"},
		{&net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")}, "redis does not respond: dial", "is it running"},
		{fmt.Errorf("a step: %w", context.DeadlineExceeded), "redis does not respond: a step", "is it running"},
		{errCertificate, errCertificate.Error(), ""},
	} {
		t.Run(c.want, func(t *testing.T) {
			got := Explain(c.err)
			if text := got.Error(); !strings.HasPrefix(text, c.want) || !strings.Contains(text, c.do) {
				t.Errorf("got %q, want %q and %q", text, c.want, c.do)
			}
			if !errors.Is(got, c.err) {
				t.Error("got an error that does not wrap the cause, want it wrapped")
			}
			if strings.HasPrefix(c.want, "redis returned") && strings.Contains(got.Error(), "is it running") {
				t.Errorf("got %q, want no advice for a missing reply, as Redis has replied", got)
			}
		})
	}
}
