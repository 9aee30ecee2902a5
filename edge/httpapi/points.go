package httpapi

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/redis/go-redis/v9"

	"sightglass/shared/contract"
	"sightglass/shared/redisurl"
)

const (
	// pointsTTL is the interval at which the ingester writes the points.
	pointsTTL = time.Second
	// pointsCaching lets HTTP caches serve the points, which change about once a second.
	pointsCaching = "public, max-age=1"
)

// Points serves /api/v1/points?since=.
func (a *API) Points(c *fiber.Ctx) error {
	since, err := parameter(c, "since", -1, 0, maxSecond)
	if err != nil {
		return fiber.NewError(fiber.StatusBadRequest, err.Error())
	}
	all, err := a.points.get(context.Background(), time.Now()) // bounded by the Redis client's timeouts; fasthttp reuses the request
	if err != nil {
		return unavailable(c, "no points yet", pointsTTL)
	}
	first, _ := slices.BinarySearchFunc(all.value, float64(since), func(p contract.PointAmount, t float64) int {
		if p.Timestamp <= t {
			return -1
		}
		return 1
	})
	return all.response(first, func() *Response {
		body := contract.AppendPointAmounts([]byte(`{"points":`), all.value[first:])
		return NewResponse(append(body, '}'), jsonType, pointsCaching)
	}).Send(c)
}

// fetchPoints reads the newest points, oldest first. A missing key means no points.
func (a *API) fetchPoints(ctx context.Context) ([]contract.PointAmount, error) {
	data, err := a.redis.Get(ctx, contract.KeyPoints).Bytes()
	if errors.Is(err, redis.Nil) {
		return nil, nil
	}
	var points []contract.PointAmount
	if err == nil {
		points, err = contract.DecodePointAmounts(data)
	}
	if err != nil {
		a.log.Warn("cannot fetch the points from redis; serving the cached ones", "err", redisurl.Explain(err))
	}
	return points, err
}
