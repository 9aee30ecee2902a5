package edge

import (
	"context"
	"time"

	"github.com/gofiber/fiber/v2"

	"sightglass/edge/archive"
	"sightglass/shared/rounds"
)

// A cloud answers for the points' round amounts.
type cloud struct {
	points  *archive.Points
	answers answers[archive.Cloud, int] // by the first point that is shown
}

// pointsCaching lets caches in front take the load: what is there changes about once a second.
const pointsCaching = "public, max-age=1"

// answer answers /api/v1/points.
func (p *cloud) answer(c *fiber.Ctx) error {
	since, err := parameter(c, "since", -1, 0, maxSecond)
	if err != nil {
		return fiber.NewError(fiber.StatusBadRequest, err.Error())
	}
	found, err := p.points.Read(context.Background(), time.Now()) // the client's timeouts bound it; the request is used again
	if err != nil {
		return unavailable(c, err, "no points yet", archive.PointsFresh)
	}
	first := found.After(since)
	return p.answers.of(found, first, func() *answer { return newPointsAnswer(found.Points[first:]) }).send(c)
}

func newPointsAnswer(points []rounds.Point) *answer {
	body := rounds.AppendJSON([]byte(`{"points":`), points)
	return fixed(append(body, '}'), jsonType, pointsCaching)
}
