package wstest

import (
	"context"
	"fmt"
	"time"

	"github.com/coder/websocket"

	"sightglass/shared/contract"
)

// A Viewer is a client of the plain protocol that checks that snapshots are valid and in order.
type Viewer struct {
	Conn *websocket.Conn
	Last *contract.Snapshot // last snapshot; nil before the first
}

// Next returns the next snapshot. It returns an error if none arrives within 30 s, or if it is invalid or not newer than the
// last; a stale one need not be newer.
func (v *Viewer) Next(ctx context.Context) (*contract.Snapshot, error) {
	ctx, cancel := context.WithTimeout(ctx, messageTimeout)
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
		return nil, fmt.Errorf("epoch %s seq %d received after epoch %s seq %d", s.Epoch, s.Seq, v.Last.Epoch, v.Last.Seq)
	}
	v.Last = s
	return s, nil
}

// Until reads snapshots until one meets the condition. It returns an error if none does before the timeout.
func (v *Viewer) Until(ctx context.Context, timeout time.Duration, met func(*contract.Snapshot) bool) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
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
