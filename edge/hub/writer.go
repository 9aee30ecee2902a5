package hub

import (
	"net"
	"sync"
	"syscall"
	"time"
)

// maxWaiting bounds the bytes of pongs that wait for a client that does not accept its frame: about 20 pongs. A client
// that sends more pings meanwhile is flooding.
const maxWaiting = 1024

// A writer does all writes to a client. Each caller writes at once, without blocking. One goroutine (catchUp) writes
// what the kernel did not accept; it runs only while the client is behind. Meanwhile other callers only store what to
// write next.
type writer struct {
	conn  net.Conn
	raw   syscall.RawConn
	fd    uintptr // raw's; valid until ended, see stop
	hub   *Hub
	codec *codec

	mu         sync.Mutex
	rest       []byte // unsent part of the current frame; shared, so read-only
	waiting    []byte // whole frames to write before the newest snapshot
	has        version
	frames     uint32        // snapshots started
	bytes      uint64        // of these snapshots
	behind     bool          // catchUp is running, and is the only one that writes
	ended      bool          // nothing may be written after rest and waiting
	reason     reason        // why it ended
	failure    error         // of writeAll
	written    time.Duration // when the last snapshot was started
	pinged     time.Duration // when the last ping was sent
	catchingUp sync.WaitGroup
}

// A version identifies the last snapshot that was written to a client, without referencing its bytes.
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

// offer writes the newest frame if the client can accept one. A client that is behind gets the newest frame when it has
// caught up.
func (w *writer) offer(now time.Duration, n *counters) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.behind || w.ended || !w.load(now, n) {
		return
	}
	w.push()
}

// load sets rest to the newest frame. It reports false if the client has it.
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

// send writes a small frame at once, or after the current one.
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

// push writes what the kernel accepts at once. If something is left, the client is behind. It uses the descriptor
// directly: raw.Write would lock it against closing, which mu does, and check timers that a non-blocking write does not
// need. With ten thousand clients, each memory access counts.
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

// catchUp writes the rest, then the waiting frames, then the newest frame, until nothing is left. It waits for the
// kernel for at most WriteTimeout.
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

// extendDeadline sets the write deadline to WriteTimeout from now.
func (w *writer) extendDeadline() {
	// An error means that the connection is closed; the next write returns it.
	w.conn.SetWriteDeadline(time.Now().Add(w.hub.opts.WriteTimeout)) //nolint:errcheck
}

// writeAll reports whether nothing is left to write or writing has failed. Otherwise it is called again when the kernel
// accepts more.
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

// next sets rest to the next thing to write. It reports false if there is nothing.
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

// close sends the closing message, and gives the client the grace to close its side. It does nothing if the connection
// has ended already. A client that left gets no message.
func (w *writer) close(r reason, grace time.Duration) {
	var last []byte
	if r != left {
		last = w.codec.closing(r)
	}
	w.closeWith(r, last, grace)
}

// closeWith is close with the given last bytes; nil for a client that left.
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

// shutdown closes our side after the last bytes were sent. The client then closes its side.
func (w *writer) shutdown() {
	w.raw.Control(func(fd uintptr) { //nolint:errcheck // as in extendDeadline
		syscall.Shutdown(int(fd), syscall.SHUT_WR) //nolint:errcheck // the client may be gone
	})
}

// fail ends the connection without a message, because the client is gone or accepts nothing. It does not close the
// connection, which would wait for catchUp, which waits for mu. It wakes the reader, which closes.
func (w *writer) fail(err error) {
	if !w.ended {
		w.ended, w.reason = true, socketReason(err)
	}
	w.rest, w.waiting = nil, nil
	w.conn.SetDeadline(longAgo) //nolint:errcheck // as in extendDeadline
}

var longAgo = time.Unix(1, 0)

// summary returns why the connection ended, the number of snapshots started, and their bytes.
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

// stop closes the connection and returns when no goroutine writes to it. Only stop may close it: a goroutine that holds
// mu and finds it not ended relies on the descriptor.
func (w *writer) stop() {
	w.closeWith(left, nil, 0)
	w.conn.Close()
	w.catchingUp.Wait()
}
