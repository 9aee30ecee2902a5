// Package transcript is the file format for recordings of a node: its ZMQ notifications and its RPC responses, one JSON
// object a line, ordered by time.
//
//	{"t":3.148,"topic":"sequence","body":"b6e4...06000000000000","seq":116}
//	{"t":3.447,"method":"getrawmempool","params":[false,true],"result":{"txids":[...],"mempool_sequence":8}}
//
// The two kinds of lines may be in one file or in several. The package also parses the body of a sequence notification.
package transcript

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
)

// A Line is one notification or response. Exactly one of Topic and Method is set.
type Line struct {
	T float64 // seconds since the start of the recording

	Topic   string // of a ZMQ notification
	Body    []byte // the notification's second frame
	Counter uint32 // its third frame: the topic's count of its notifications

	Method string          // of an RPC call
	Params json.RawMessage // its parameters, an array; nil: none
	Result json.RawMessage // its result; nil: null
}

// The topics that bitcoind publishes and a replay can use.
const (
	TopicRawTx     = "rawtx"
	TopicRawBlock  = "rawblock"
	TopicHashBlock = "hashblock"
	TopicSequence  = "sequence"
)

// ErrFormat is wrapped by every error about a malformed line.
var ErrFormat = errors.New(`expected {"t":seconds,"topic":"...","body":"hex","seq":counter} or {"t":seconds,"method":"...","params":[...],"result":...}`)

// zmqLine and rpcLine are the JSON forms of the two kinds of lines.
type (
	zmqLine struct {
		T     float64 `json:"t"`
		Topic string  `json:"topic"`
		Body  string  `json:"body"`
		Seq   uint32  `json:"seq"`
	}
	rpcLine struct {
		T      float64         `json:"t"`
		Method string          `json:"method"`
		Params json.RawMessage `json:"params"`
		Result json.RawMessage `json:"result"`
	}
)

// appendLine appends l and a newline to buf.
func appendLine(buf *bytes.Buffer, l Line) error {
	var v any
	switch {
	case (l.Topic == "") == (l.Method == ""):
		return fmt.Errorf("a line with topic %q and method %q: exactly one of them must be set", l.Topic, l.Method)
	case l.Topic != "":
		v = zmqLine{l.T, l.Topic, hex.EncodeToString(l.Body), l.Counter}
	case l.Params == nil:
		v = rpcLine{l.T, l.Method, json.RawMessage("[]"), l.Result}
	default:
		v = rpcLine{l.T, l.Method, l.Params, l.Result}
	}
	whole := buf.Len()
	enc := json.NewEncoder(buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		buf.Truncate(whole)
		return err
	}
	return nil
}

// parse parses one line. It trusts nothing in text.
func parse(text []byte) (Line, error) {
	var raw struct {
		T      *float64        `json:"t"`
		Topic  string          `json:"topic"`
		Body   *string         `json:"body"`
		Seq    *uint32         `json:"seq"`
		Method string          `json:"method"`
		Params json.RawMessage `json:"params"`
		Result json.RawMessage `json:"result"`
	}
	if err := json.Unmarshal(text, &raw); err != nil {
		return Line{}, err
	}
	switch {
	case raw.T == nil || math.Abs(*raw.T) > maxTime:
		return Line{}, fmt.Errorf(`no "t" within %.0g seconds`, float64(maxTime))
	case (raw.Topic == "") == (raw.Method == ""):
		return Line{}, errors.New(`not exactly one of "topic" and "method"`)
	case raw.Method != "":
		return Line{T: *raw.T, Method: raw.Method, Params: raw.Params, Result: raw.Result}, nil
	case raw.Body == nil:
		return Line{}, errors.New(`no "body"`)
	case raw.Seq == nil:
		return Line{}, errors.New(`no "seq"`)
	}
	body, err := hex.DecodeString(*raw.Body)
	if err != nil {
		return Line{}, fmt.Errorf(`"body": %w`, err)
	}
	return Line{T: *raw.T, Topic: raw.Topic, Body: body, Counter: *raw.Seq}, nil
}

// maxTime is thirty years: much larger values overflow a time.Duration.
const maxTime = 1e9
