package fanout

import (
	"bytes"
	"compress/flate"
	"errors"
	"hash/maphash"
	"io"
)

// namesKept bounds what names remembers: a second's worth of messages at the highest rate, half a minute's at ours.
const namesKept = 64

// names tell deflated messages apart without inflating each. A message is the same bytes for every client, so the first
// that holds it whole names it for all; arrivals before that wait until then.
type names struct {
	seed    maphash.Seed
	order   []uint64 // hashes, oldest first
	known   map[uint64]int64
	waiting map[uint64][]int64

	inflater io.ReadCloser
	text     bytes.Buffer
}

func newNames() *names {
	return &names{seed: maphash.MakeSeed(), known: make(map[uint64]int64), waiting: make(map[uint64][]int64)}
}

func (n *names) hash(tail []byte) uint64 {
	return maphash.Bytes(n.seed, tail[max(len(tail)-tailSize, 0):])
}

// arrived gives the timestamp of the message that ends with tail; if nobody knows it yet, the arrival waits for it.
func (n *names) arrived(tail []byte, at int64) (timestamp int64, ok bool) {
	hash := n.hash(tail)
	if timestamp, ok = n.known[hash]; !ok {
		n.remember(hash)
		n.waiting[hash] = append(n.waiting[hash], at)
	}
	return timestamp, ok
}

// name inflates a message, and gives its timestamp and the arrivals that waited for it.
func (n *names) name(message []byte) (timestamp int64, waited []int64, err error) {
	text, err := n.inflate(message)
	if err != nil {
		return 0, nil, err
	}
	timestamp, ok := timestampOf(text)
	if !ok {
		return 0, nil, errors.New("a message without a timestamp")
	}
	hash := n.hash(message)
	waited = n.waiting[hash]
	delete(n.waiting, hash)
	n.remember(hash)
	n.known[hash] = timestamp
	return timestamp, waited, nil
}

// remember makes room for one more.
func (n *names) remember(hash uint64) {
	_, isKnown := n.known[hash]
	if _, isWaiting := n.waiting[hash]; isKnown || isWaiting {
		return
	}
	if len(n.order) == namesKept {
		delete(n.known, n.order[0])
		delete(n.waiting, n.order[0])
		n.order = n.order[1:]
	}
	n.order = append(n.order, hash)
}

// flushed is what permessage-deflate leaves out of a message's end, and an empty last block (RFC 7692, 7.2.2).
var flushed = []byte("\x00\x00\xff\xff\x01\x00\x00\xff\xff")

func (n *names) inflate(message []byte) ([]byte, error) {
	in := io.MultiReader(bytes.NewReader(message), bytes.NewReader(flushed))
	if n.inflater == nil {
		n.inflater = flate.NewReader(in)
	} else if err := n.inflater.(flate.Resetter).Reset(in, nil); err != nil {
		return nil, err
	}
	n.text.Reset()
	_, err := io.Copy(&n.text, io.LimitReader(n.inflater, maxPayload))
	return n.text.Bytes(), err
}

// A deflater makes messages as permessage-deflate without context takeover has them.
type deflater struct {
	writer *flate.Writer
	out    bytes.Buffer
}

func newDeflater() *deflater {
	d := &deflater{}
	d.writer, _ = flate.NewWriter(&d.out, flate.DefaultCompression) // fails only on an unknown level
	return d
}

// deflate gives bytes that are good until the next call.
func (d *deflater) deflate(message []byte) ([]byte, error) {
	d.out.Reset()
	d.writer.Reset(&d.out)
	if _, err := d.writer.Write(message); err != nil {
		return nil, err
	}
	if err := d.writer.Flush(); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(d.out.Bytes(), []byte("\x00\x00\xff\xff")), nil
}
