package wstest

import (
	"context"
	"fmt"
	"time"

	"github.com/coder/websocket"

	"sightglass/shared/contract"
)

// A Viewer is a client that checks what every client may expect of the plain protocol.
type Viewer struct {
	Conn *websocket.Conn
	Last *contract.Snapshot // the newest; nil before the first
}

// Next reads a snapshot, which has to come within 30 s, and checks that it follows the one before.
func (v *Viewer) Next(ctx context.Context) (*contract.Snapshot, error) {
	ctx, cancel := context.WithTimeout(ctx, messageWithin)
	defer cancel()
	return v.next(ctx)
}

func (v *Viewer) next(ctx context.Context) (*contract.Snapshot, error) {
	data, err := read(ctx, v.Conn)
	if err != nil {
		return nil, err
	}
	s, err := contract.DecodeSnapshot(data)
	if err != nil {
		return nil, err
	}
	if s.Status != contract.Stale && !s.NewerThan(v.Last) {
		return nil, fmt.Errorf("epoch %s seq %d came after epoch %s seq %d", s.Epoch, s.Seq, v.Last.Epoch, v.Last.Seq)
	}
	v.Last = s
	return s, nil
}

// Until reads on until a snapshot is as wanted, for some time at most.
func (v *Viewer) Until(ctx context.Context, within time.Duration, met func(*contract.Snapshot) bool) error {
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
