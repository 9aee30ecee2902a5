package hub

import (
	"net"
	"sync"
	"syscall"
	"time"
)

// maxWaiting is the most bytes of answers that wait for a client that does not accept its frame: about 20 pongs. It
// keeps sending meanwhile, so more than that is a flood.
const maxWaiting = 1024

// A writer is all that is ever written to a client. Whoever has something to write does so at once, without waiting.
// What the kernel does not accept then is finished by one goroutine (catchUp), which exists only while the client is
// behind; everyone else only leaves it something to do.
type writer struct {
	conn  net.Conn
	raw   syscall.RawConn
	fd    uintptr // raw's; open as long as not ended, see stop
	hub   *Hub
	codec *codec

	mu         sync.Mutex
	rest       []byte // what the kernel has not accepted of a frame that is being written; shared, not ours
	waiting    []byte // whole frames that come next, before the newest snapshot
	has        version
	frames     uint32        // snapshots that were begun
	bytes      uint64        // of them
	behind     bool          // catchUp is running: nobody else writes
	ended      bool          // nothing more may be written after what waits
	reason     reason        // why it ended
	failure    error         // of writeAll
	written    time.Duration // when the last snapshot was begun
	pinged     time.Duration // when the last ping was
	catchingUp sync.WaitGroup
}

// A version identifies the snapshot that a client was given last, without holding its bytes.
type version struct {
	id    uint64
	epoch string
	seq   uint64
}

// begin writes the greeting and the newest snapshot to a client that has joined.
func (w *writer) begin(greeting []byte) {
	if greeting != nil {
		w.mu.Lock()
		w.put(greeting)
		w.mu.Unlock()
	}
	var n counters
	w.offer(w.hub.clock(), &n)
	w.hub.metrics.add(&n)
}

// offer writes the newest frame if the client can accept one. A client that is behind gets the newest afterwards.
func (w *writer) offer(now time.Duration, n *counters) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.behind || w.ended || !w.load(now, n) {
		return
	}
	w.push()
}

// load makes the newest frame what is to be written; it reports false if the client has it.
func (w *writer) load(now time.Duration, n *counters) bool {
	newest := w.hub.latest.Load()
	if newest == nil || newest.ID == w.has.id {
		return false
	}
	encoding, bytes := w.codec.pick(newest, w.has.id)
	n.frames[encoding.index]++
	n.bytes += len(bytes)
	w.frames++
	w.bytes += uint64(len(bytes))
	epoch, seq := string(newest.Snapshot.Epoch), newest.Snapshot.Seq
	if w.has.epoch == epoch && seq > w.has.seq {
		n.skipped += int(seq - w.has.seq - 1)
	}
	w.has = version{newest.ID, epoch, seq}
	w.rest, w.written = bytes, now
	return true
}

// send writes a small frame, at once or after the one that is being written.
func (w *writer) send(frame []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.ended:
	case len(w.waiting)+len(frame) > maxWaiting:
		w.closeLocked(tooManyMessages, w.codec.closing(tooManyMessages), closeGrace)
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

// push writes what the kernel accepts at once. If that is not all, the client is behind. It goes to the descriptor
// itself: raw.Write would lock it against being closed, which mu does, and check timers that a write without waiting does
// not have. For ten thousand clients that is memory that need not be touched.
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

// catchUp finishes what the client has not accepted, then what waits, then the newest frame, until nothing is left.
// While the kernel accepts nothing it waits, for WriteTimeout at most.
func (w *writer) catchUp() {
	w.extendDeadline()
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

// extendDeadline gives the client WriteTimeout from now to accept something.
func (w *writer) extendDeadline() {
	// An error means that the connection is closed, which the next write will see.
	w.conn.SetWriteDeadline(time.Now().Add(w.hub.opts.WriteTimeout)) //nolint:errcheck
}

// writeAll reports whether there is nothing left to write, or no use in trying. If not it is called again when the
// kernel accepts more.
func (w *writer) writeAll(fd uintptr) (done bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for {
		before := len(w.rest)
		if w.rest, w.failure = send(fd, w.rest); w.failure != nil {
			return true
		}
		if len(w.rest) < before {
			w.extendDeadline()
		}
		if len(w.rest) > 0 {
			return false
		}
		if !w.next() {
			w.behind = false
			w.hub.metrics.behind.Dec()
			w.conn.SetWriteDeadline(time.Time{}) //nolint:errcheck // as in extendDeadline
			if w.ended {
				w.shutdown()
			}
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
	var n counters
	defer w.hub.metrics.add(&n)
	return w.load(w.hub.clock(), &n)
}

// close ends the connection with a reason, unless it has ended already: it sends the closing message, and the client has the
// grace to close its side. A client that left gets no message.
func (w *writer) close(r reason, grace time.Duration) {
	var last []byte
	if r != left {
		last = w.codec.closing(r)
	}
	w.closeWith(r, last, grace)
}

// closeWith is close with given last bytes; nil for a client that is gone.
func (w *writer) closeWith(r reason, last []byte, grace time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closeLocked(r, last, grace)
}

func (w *writer) closeLocked(r reason, last []byte, grace time.Duration) {
	switch {
	case w.ended:
		return
	case last == nil:
		w.fail(net.ErrClosed)
		return
	}
	w.ended, w.reason = true, r
	w.conn.SetReadDeadline(time.Now().Add(grace)) //nolint:errcheck // as in extendDeadline
	w.put(last)
	if !w.behind {
		w.shutdown()
	}
}

// shutdown says that nothing follows, as the last bytes are out. The client closes its side in turn.
func (w *writer) shutdown() {
	w.raw.Control(func(fd uintptr) { //nolint:errcheck // as in extendDeadline
		syscall.Shutdown(int(fd), syscall.SHUT_WR) //nolint:errcheck // the client may be gone
	})
}

// fail ends the connection without a word: the client is gone or accepts nothing. It does not close the connection, which
// would wait for catchUp, which waits for mu; it wakes the reader, which closes.
func (w *writer) fail(err error) {
	if !w.ended {
		w.ended, w.reason = true, socketReason(err)
	}
	w.rest, w.waiting = nil, nil
	w.conn.SetDeadline(longAgo) //nolint:errcheck // as in extendDeadline
}

var longAgo = time.Unix(1, 0)

// summary returns the reason that the connection ended for, how many snapshots were begun, and their bytes.
func (w *writer) summary() (r reason, frames uint32, bytes uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.reason, w.frames, w.bytes
}

func (w *writer) behindNow() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.behind
}

// stop closes the connection and returns when nobody writes to it any more. Nobody else may close it: whoever holds mu
// and finds it not ended relies on its descriptor.
func (w *writer) stop() {
	w.closeWith(left, nil, 0)
	w.conn.Close()
	w.catchingUp.Wait()
}
