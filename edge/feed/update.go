package feed

import (
	"sync/atomic"

	"sightglass/shared/snapshot"
)

// An Update is one snapshot that replaces the one before. It does not change and is safe for concurrent use.
type Update struct {
	Snapshot *snapshot.Snapshot
	JSON     []byte // as the ingester encoded it
	ID       uint64 // of this update, in this process; never 0

	// The update before, to which a delta applies. Base is nil if no delta leads to this update. Only the snapshot is
	// referenced: an update that referenced the one before would keep all earlier ones alive.
	Base   *snapshot.Snapshot
	BaseID uint64
}

var lastID atomic.Uint64

// NewUpdate decodes a snapshot's JSON. The update before it, nil if there is none, becomes its base. Errors are
// snapshot.Decode's.
func NewUpdate(json []byte, before *Update) (*Update, error) {
	s, err := snapshot.Decode(json)
	if err != nil {
		return nil, err
	}
	u := &Update{Snapshot: s, JSON: json, ID: lastID.Add(1)}
	if before != nil {
		u.Base, u.BaseID = before.Snapshot, before.ID
	}
	return u, nil
}

// stale returns the update that marks u as the last known one. It has no base, because its seq is not new.
func (u *Update) stale() *Update {
	s := *u.Snapshot
	s.Status = snapshot.Stale
	return &Update{Snapshot: &s, JSON: s.AppendJSON(nil), ID: lastID.Add(1)}
}
