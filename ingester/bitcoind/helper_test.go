package bitcoind

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/cenkalti/backoff/v5"
	"github.com/prometheus/client_golang/prometheus"
)

const user, password = "alice", "sesame"

// pause is called between two tries.
type pause func() time.Duration

func (p pause) NextBackOff() time.Duration { return p() }
func (p pause) Reset()                     {}

func noPause() time.Duration { return 0 }

// open returns a client that does not wait between tries.
func open(t testing.TB, o Options) *Client {
	t.Helper()
	if o.Cookie == "" && o.User == "" && !strings.Contains(o.URL, "@") {
		o.User, o.Password = user, password
	}
	if o.Registerer == nil {
		o.Registerer = prometheus.NewPedanticRegistry()
	}
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	c.newBackOff = func() backoff.BackOff { return pause(noPause) }
	t.Cleanup(c.Close)
	return c
}

// serve runs an HTTP server until the test ends.
func serve(t testing.TB, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s
}

// A fakeNode responds like bitcoind: credentials, HTTP status and JSON of both kinds of errors.
type fakeNode struct {
	*httptest.Server
	answer func(method, params string) (result string, err *Error) // params without spaces
	mu     sync.Mutex
	sizes  []int // calls in each request so far
	twist  func(answers []string) []string
	login  string // user:password
}

func newNode(t testing.TB, answer func(method, params string) (string, *Error)) *fakeNode {
	n := &fakeNode{answer: answer, login: user + ":" + password}
	n.Server = serve(t, n.handle)
	return n
}

func (n *fakeNode) set(login string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.login = login
}

func (n *fakeNode) requests() []int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]int(nil), n.sizes...)
}

func (n *fakeNode) handle(w http.ResponseWriter, r *http.Request) {
	n.mu.Lock()
	defer n.mu.Unlock()
	body, _ := io.ReadAll(r.Body)
	name, secret, _ := r.BasicAuth()
	var one wireRequest
	var batch []wireRequest
	switch {
	case name+":"+secret != n.login:
		n.sizes = append(n.sizes, 0)
		w.WriteHeader(http.StatusUnauthorized)
	case json.Unmarshal(body, &one) == nil:
		n.sizes = append(n.sizes, 1)
		answer, failed := n.one(one)
		if failed {
			w.WriteHeader(http.StatusInternalServerError)
		}
		fmt.Fprintln(w, answer)
	case json.Unmarshal(body, &batch) == nil:
		n.sizes = append(n.sizes, len(batch))
		fmt.Fprintln(w, n.batch(batch))
	default:
		w.WriteHeader(http.StatusBadRequest)
	}
}

type wireRequest struct {
	Version string          `json:"jsonrpc"`
	ID      json.RawMessage `json:"id"`
	Method  string          `json:"method"`
	Params  json.RawMessage `json:"params"`
}

func (n *fakeNode) one(r wireRequest) (answer string, failed bool) {
	var params bytes.Buffer
	if r.Version != "1.0" || r.Params[0] != '[' || json.Compact(&params, r.Params) != nil {
		return fmt.Sprintf(`{"result":null,"error":{"code":-32600,"message":"Invalid Request"},"id":%s}`, r.ID), true
	}
	result, err := n.answer(r.Method, params.String())
	if err != nil {
		text, _ := json.Marshal(err)
		return fmt.Sprintf(`{"result":null,"error":%s,"id":%s}`, text, r.ID), true
	}
	return fmt.Sprintf(`{"result":%s,"error":null,"id":%s}`, result, r.ID), false
}

func (n *fakeNode) batch(batch []wireRequest) string {
	answers := make([]string, len(batch))
	for i, r := range batch {
		answers[i], _ = n.one(r)
	}
	if n.twist != nil {
		answers = n.twist(answers)
	}
	return "[" + strings.Join(answers, ",") + "]"
}

// ids returns n different hashes.
func ids(n int) []chainhash.Hash {
	list := make([]chainhash.Hash, n)
	for i := range list {
		list[i] = chainhash.HashH(fmt.Append(nil, i))
	}
	return list
}
