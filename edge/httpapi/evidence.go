package httpapi

import (
	"context"
	"errors"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/redis/go-redis/v9"

	"sightglass/shared/contract"
	"sightglass/shared/redisurl"
)

const (
	// evidenceTTL is half the shortest time between two evidences; mostly that is a minute.
	evidenceTTL = 5 * time.Second
	// evidenceCaching lets HTTP caches serve the evidence.
	evidenceCaching = "public, max-age=10"
)

// Evidence serves /api/v1/evidence: the evidence in Redis, however old; its timestamp says when it was computed.
func (a *API) Evidence(c *fiber.Ctx) error {
	evidence, err := a.evidence.get(context.Background(), time.Now()) // bounded by the Redis client's timeouts; fasthttp reuses the request
	if err != nil || len(evidence.value) == 0 {
		return unavailable(c, "no evidence yet", evidenceTTL)
	}
	return evidence.response(nil, func() *Response {
		return NewResponse(evidence.value, jsonType, evidenceCaching)
	}).Send(c)
}

// fetchEvidence reads the newest evidence, and returns it encoded again, so that clients get what this version knows only.
// A missing key means none.
func (a *API) fetchEvidence(ctx context.Context) ([]byte, error) {
	data, err := a.redis.Get(ctx, contract.KeyEvidence).Bytes()
	if errors.Is(err, redis.Nil) {
		return nil, nil
	}
	var evidence *contract.Evidence
	if err == nil {
		evidence, err = contract.DecodeEvidence(data)
	}
	if err != nil {
		a.log.Warn("cannot fetch the evidence from redis; serving the cached one", "err", redisurl.Explain(err))
		return nil, err
	}
	return evidence.AppendJSON(nil), nil
}
