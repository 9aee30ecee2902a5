package price

import (
	"errors"
	"time"
)

// State returns the engine's belief, to be given to Restore after a restart.
func (e *Engine) State() []byte { return nil }

// ErrState is the kind of all errors of Restore.
var ErrState = errors.New("price: state not restored")

// Restore takes up the belief of an earlier engine.
func (e *Engine) Restore(state []byte, now time.Time) error { return ErrState }
