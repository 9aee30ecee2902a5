package edge

import "sync"

// answers keeps those that were made of a source for as long as it is the newest, so that a thousand who ask cost as much
// as one. V is what of the source an answer shows: questions that come to the same are the same view.
type answers[S any, V comparable] struct {
	mu     sync.Mutex // also held while an answer is built: that must not take more than one core
	source *S
	kept   map[V]*answer
}

// keptAnswers is how many are kept; a whole day of history has 0.5 MB. The dashboard asks for one or two.
const keptAnswers = 8

func (a *answers[S, V]) of(source *S, view V, build func() *answer) *answer {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.kept == nil || source != a.source || len(a.kept) >= keptAnswers {
		a.source = source
		a.kept = make(map[V]*answer)
	}
	if a.kept[view] == nil {
		a.kept[view] = build()
	}
	return a.kept[view]
}
