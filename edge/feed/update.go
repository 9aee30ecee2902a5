package feed

import (
	"sync/atomic"

	"sightglass/shared/contract"
)

// An Update is a snapshot that replaces the previous one. It is immutable and safe for concurrent use.
type Update struct {
	Snapshot *contract.Snapshot
	JSON     []byte // as the ingester encoded it
	ID       uint64 // of this update, in this process; never 0

	// The previous update, to which a delta applies. Base is nil if no delta leads to this update. Only the snapshot is
	// referenced: a reference to the previous update would keep all earlier ones alive.
	Base   *contract.Snapshot
	BaseID uint64
}

var lastID atomic.Uint64

// NewUpdate decodes a snapshot's JSON. previous, which may be nil, becomes its base. Errors are those of contract.DecodeSnapshot.
func NewUpdate(json []byte, previous *Update) (*Update, error) {
	s, err := contract.DecodeSnapshot(json)
	if err != nil {
		return nil, err
	}
	u := &Update{Snapshot: s, JSON: json, ID: lastID.Add(1)}
	if previous != nil {
		u.Base, u.BaseID = previous.Snapshot, previous.ID
	}
	return u, nil
}

// stale returns a copy of u whose status is stale. It has no base, because its seq is not new.
func (u *Update) stale() *Update {
	s := *u.Snapshot
	s.Status = contract.Stale
	return &Update{Snapshot: &s, JSON: s.AppendJSON(nil), ID: lastID.Add(1)}
}
