package wstest

import (
	"context"
	"fmt"
	"time"

	"github.com/coder/websocket"

	"sightglass/shared/snapshot"
)

// A Viewer is a client that checks what every client may expect of the plain protocol.
type Viewer struct {
	Conn *websocket.Conn
	Last *snapshot.Snapshot // the newest; nil before the first
}

// Next reads a snapshot, which has to come within 30 s, and checks that it follows the one before.
func (v *Viewer) Next(ctx context.Context) (*snapshot.Snapshot, error) {
	ctx, cancel := context.WithTimeout(ctx, messageWithin)
	defer cancel()
	return v.next(ctx)
}

func (v *Viewer) next(ctx context.Context) (*snapshot.Snapshot, error) {
	data, err := read(ctx, v.Conn)
	if err != nil {
		return nil, err
	}
	s, err := snapshot.Decode(data)
	if err != nil {
		return nil, err
	}
	if s.Status != snapshot.Stale && !s.NewerThan(v.Last) {
		return nil, fmt.Errorf("epoch %s seq %d came after epoch %s seq %d", s.Epoch, s.Seq, v.Last.Epoch, v.Last.Seq)
	}
	v.Last = s
	return s, nil
}

// Until reads on until a snapshot is as wanted, for some time at most.
func (v *Viewer) Until(ctx context.Context, within time.Duration, met func(*snapshot.Snapshot) bool) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	for {
		s, err := v.next(ctx)
		if err != nil {
			return err
		}
		if met(s) {
			return nil
		}
	}
}
