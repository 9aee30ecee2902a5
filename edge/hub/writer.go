package hub

import (
	"net"
	"sync"
	"syscall"
	"time"

	"sightglass/edge/feed"
	"sightglass/edge/ws"
)

// maxWaiting is the most bytes of pongs that wait for a client that does not take its frame: about 20. It sends on
// meanwhile, so what is more was a flood.
const maxWaiting = 1024

// A writer is all that is ever written to a client. Whoever has something to write does so at once, without waiting.
// What the kernel does not take then is finished by one goroutine (catchUp), which is there only as long as the client
// is behind; everyone else only leaves it something to do.
type writer struct {
	conn     *ws.Conn
	raw      syscall.RawConn
	hub      *Hub
	protocol protocol
	fd       uintptr // raw's; open as long as not ended, see stop

	mu         sync.Mutex
	rest       []byte // what the kernel has not taken of a frame that is being written; shared, not ours
	waiting    []byte // whole frames that come next, before the newest snapshot
	has        version
	frames     uint32        // snapshots that were begun
	bytes      uint64        // of them
	behind     bool          // catchUp is at work: nobody else writes
	ended      bool          // nothing more may be written after what waits
	reason     reason        // why it ended
	failure    error         // of writeAll
	written    time.Duration // when the last snapshot was begun
	pinged     time.Duration // when the last ping was
	catchingUp sync.WaitGroup
}

// A version says which snapshot a client was given last, without holding its bytes.
type version struct {
	id    uint64
	epoch string
	seq   uint64
}

func (w *writer) init(conn *ws.Conn, raw syscall.RawConn, h *Hub) error {
	w.conn, w.raw, w.hub, w.protocol, w.written = conn, raw, h, protocolOf(conn), h.clock()
	return raw.Control(func(fd uintptr) { w.fd = fd })
}

// begin gives a client that has joined the newest frame.
func (w *writer) begin() {
	var t tally
	w.offer(w.hub.clock(), &t)
	w.hub.metrics.add(&t)
}

// offer gives the client the newest frame if it is free to take one. If it is behind it takes the newest afterwards.
func (w *writer) offer(now time.Duration, t *tally) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.behind || w.ended || !w.load(now, t) {
		return
	}
	w.push()
}

// load makes the newest frame what is to be written; it reports false if the client has it.
func (w *writer) load(now time.Duration, t *tally) bool {
	newest := w.hub.latest.Load()
	if newest == nil || newest.ID == w.has.id {
		return false
	}
	form, bytes := w.protocol.pick(newest.Frame, w.has.id)
	t.frames[form]++
	t.bytes += len(bytes)
	w.frames++
	w.bytes += uint64(len(bytes))
	t.skipped += w.has.skippedTo(newest.Frame)
	w.has = version{newest.ID, string(newest.Snapshot.Epoch), newest.Snapshot.Seq}
	w.rest, w.written = bytes, now
	return true
}

// skippedTo is how many snapshots there were in between.
func (v version) skippedTo(f *feed.Frame) int {
	if v.epoch != string(f.Snapshot.Epoch) || f.Snapshot.Seq <= v.seq {
		return 0
	}
	return int(f.Snapshot.Seq - v.seq - 1)
}

// send writes a small frame, at once or after the one that is being written.
func (w *writer) send(frame []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.ended:
	case len(w.waiting)+len(frame) > maxWaiting:
		w.dismissLocked(tooManyMessages, goodbye)
	default:
		w.put(frame)
	}
}

func (w *writer) put(frame []byte) {
	if w.behind {
		w.waiting = append(w.waiting, frame...)
		return
	}
	w.rest = frame
	w.push()
}

// push writes what the kernel takes at once. If that is not all the client is behind. It goes to the descriptor itself:
// raw.Write would lock it against being closed, which mu does, and look after timers that a write without waiting does
// not have. For ten thousand clients that is memory of theirs that need not be touched.
func (w *writer) push() {
	var err error
	w.rest, err = send(w.fd, w.rest)
	switch {
	case err != nil:
		w.fail(err)
	case len(w.rest) > 0:
		w.behind = true
		w.hub.metrics.behind.Inc()
		w.catchingUp.Go(w.catchUp)
	}
}

// catchUp finishes what the client has not taken, then what waits, then the newest frame, until there is nothing left.
// As long as the kernel takes nothing it waits, for WriteTimeout at most.
func (w *writer) catchUp() {
	w.extend()
	err := w.raw.Write(w.writeAll)
	w.mu.Lock()
	defer w.mu.Unlock()
	if err == nil {
		err = w.failure
	}
	if w.behind { // still: it could not be finished
		w.behind = false
		w.hub.metrics.behind.Dec()
		w.fail(err)
	}
}

// extend gives the client WriteTimeout from now to take something.
func (w *writer) extend() {
	// An error means that the connection is closed, which the next write will see.
	w.conn.SetWriteDeadline(time.Now().Add(w.hub.opts.WriteTimeout)) //nolint:errcheck
}

// writeAll reports whether there is nothing left to write, or no use in trying. If not it is called again when the
// kernel takes more.
func (w *writer) writeAll(fd uintptr) (done bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for {
		before := len(w.rest)
		if w.rest, w.failure = send(fd, w.rest); w.failure != nil {
			return true
		}
		if len(w.rest) < before {
			w.extend()
		}
		if len(w.rest) > 0 {
			return false
		}
		if !w.next() {
			w.caughtUp()
			return true
		}
	}
}

// next makes something that is still to be written the rest; it reports false if there is nothing.
func (w *writer) next() bool {
	if len(w.waiting) > 0 {
		w.rest, w.waiting = w.waiting, nil
		return true
	}
	if w.ended {
		return false
	}
	var t tally
	defer w.hub.metrics.add(&t)
	return w.load(w.hub.clock(), &t)
}

func (w *writer) caughtUp() {
	w.behind = false
	w.hub.metrics.behind.Dec()
	w.conn.SetWriteDeadline(time.Time{}) //nolint:errcheck // as in extend
	if w.ended {
		w.hangUp()
	}
}

// dismiss ends the connection with a reason, unless it has one already: the client is told, and has so long to hang up.
func (w *writer) dismiss(why reason, patience time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dismissLocked(why, patience)
}

func (w *writer) dismissLocked(why reason, patience time.Duration) {
	if w.ended {
		return
	}
	if why.code == 0 { // it has left, so nobody is there to be told
		w.fail(net.ErrClosed)
		return
	}
	w.endLocked(why, ws.AppendClose(nil, why.code, why.text), patience)
}

// end is dismiss with a close frame of one's own.
func (w *writer) end(why reason, frame []byte, patience time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.ended {
		w.endLocked(why, frame, patience)
	}
}

func (w *writer) endLocked(why reason, frame []byte, patience time.Duration) {
	w.ended, w.reason = true, why
	w.conn.SetReadDeadline(time.Now().Add(patience)) //nolint:errcheck // as in extend
	w.put(frame)
	if !w.behind {
		w.hangUp()
	}
}

// hangUp says that nothing follows, as the close frame is out. The client hangs up in turn.
func (w *writer) hangUp() {
	w.raw.Control(shutdownWrite) //nolint:errcheck // as in extend
}

func shutdownWrite(fd uintptr) {
	syscall.Shutdown(int(fd), syscall.SHUT_WR) //nolint:errcheck // the client may be gone
}

// fail ends the connection without a word: the client is gone or takes nothing. It does not close it, which would wait
// for catchUp, who waits for mu; it wakes the reader, who closes.
func (w *writer) fail(err error) {
	if !w.ended {
		w.ended, w.reason = true, whyFailed(err)
	}
	w.rest, w.waiting = nil, nil
	w.conn.SetDeadline(longAgo) //nolint:errcheck // as in extend
}

var longAgo = time.Unix(1, 0)

// why is the reason that the connection ended for.
func (w *writer) why() reason {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.reason
}

// sent is how many snapshots were begun, and their bytes.
func (w *writer) sent() (frames uint32, bytes uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.frames, w.bytes
}

func (w *writer) isBehind() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.behind
}

// stop closes the connection and returns when nobody writes to it any more. Nobody else may close it: whoever holds mu
// and finds it not ended relies on its descriptor.
func (w *writer) stop() {
	w.dismiss(left, 0)
	w.conn.Close()
	w.catchingUp.Wait()
}
