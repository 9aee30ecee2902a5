package httpapi

import (
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gofiber/fiber/v2"

	"sightglass/edge/picture"
	"sightglass/shared/contract"
	"sightglass/shared/history"
)

const (
	// pictureTTL is how long a picture is served: the clients of the stream wait while one is drawn.
	pictureTTL = time.Minute
	// changedTTL replaces it once the picture says something wrong: that the price is live, for example.
	changedTTL = 5 * time.Second
	// picturePoints is the largest number of points of the picture's line, which is 800 pixels wide.
	picturePoints = 300
)

var pictureCaching = "public, max-age=" + strconv.Itoa(int(pictureTTL.Seconds()))

// A sharedPicture is drawn on demand, one at a time. Meanwhile other requests get the last one, or wait for the first.
type sharedPicture struct {
	drawing sync.Mutex
	last    atomic.Pointer[drawnPicture] // nil before the first
}

type drawnPicture struct {
	response *Response
	at       time.Time
	kind     pictureKind
}

// A pictureKind is what makes a picture wrong if it changes.
type pictureKind struct {
	status       contract.Status // empty before the first snapshot
	priced, sure bool
}

func kindOf(s *contract.Snapshot) pictureKind {
	if s == nil {
		return pictureKind{}
	}
	return pictureKind{status: s.Status, priced: s.Price > 0, sure: s.Confidence >= contract.SureConfidence}
}

// get returns the last picture, or the one that draw returns if the last is too old.
func (p *sharedPicture) get(now time.Time, kind pictureKind, draw func() []byte) *Response {
	last := p.last.Load()
	if last.fresh(now, kind) {
		return last.response
	}
	if !p.drawing.TryLock() {
		if last != nil {
			return last.response
		}
		p.drawing.Lock()
	}
	defer p.drawing.Unlock()
	if again := p.last.Load(); again != last { // drawn by another request meanwhile
		return again.response
	}
	next := &drawnPicture{response: NewPNG(draw(), pictureCaching), at: now, kind: kind}
	p.last.Store(next)
	return next.response
}

// fresh reports whether the picture may still be served. Its age is absolute, so that it ends even if the clock is set back.
func (d *drawnPicture) fresh(now time.Time, kind pictureKind) bool {
	if d == nil {
		return false
	}
	ttl := pictureTTL
	if d.kind != kind {
		ttl = changedTTL
	}
	return now.Sub(d.at).Abs() < ttl
}

// Picture serves /og.png: the price now as a picture, with the operator's notice, and whether it is of recorded transactions.
func (a *API) Picture(notice string, replay bool) fiber.Handler {
	var shared sharedPicture
	return func(c *fiber.Ctx) error {
		n := picture.Now{Notice: notice, Replay: replay, At: time.Now()}
		if update := a.latest(); update != nil {
			n.Snapshot = update.Snapshot
		}
		return shared.get(n.At, kindOf(n.Snapshot), func() []byte {
			n.History, n.Step = a.lastDay(n.At)
			return picture.Draw(n)
		}).Send(c)
	}
}

// lastDay returns the entries of the last day, at most picturePoints, and the seconds between two of them. A history that
// cannot be read is an empty one.
func (a *API) lastDay(now time.Time) (entries []history.Entry, step int64) {
	to := now.Unix()
	all, err := a.timeline(now)
	if err != nil {
		return nil, history.Slot
	}
	i, j := all.value.between(to-history.Day, to)
	if i == j {
		return nil, history.Slot
	}
	rows := all.value.rows[i:j]
	step = steps[slices.IndexFunc(steps[:], func(s int64) bool { return (to-rows[0].Timestamp)/s < picturePoints })]
	return thin(rows, step), step
}
