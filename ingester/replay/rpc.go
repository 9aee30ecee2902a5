package replay

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/btcsuite/btcd/chaincfg/chainhash"
)

// An RPCError is an error that bitcoind returns.
type RPCError struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
}

func (e *RPCError) Error() string { return fmt.Sprintf("%s (code %d)", e.Message, e.Code) }

// The error codes of bitcoind in use here (its src/rpc/protocol.h).
const (
	codeMisc             = -1
	codeType             = -3
	codeNotFound         = -5 // no such transaction or block
	codeInvalidParameter = -8
	codeParse            = -32700
	codeInvalidRequest   = -32600
	codeMethodNotFound   = -32601
)

// A server implements JSON-RPC like bitcoind: single calls and batches, with any credentials.
type server struct {
	url     string
	http    http.Server
	serving sync.WaitGroup
}

func serve(address string, n *Node) (*server, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("cannot serve RPC on %s: %w", address, err)
	}
	s := &server{url: "http://" + l.Addr().String()}
	s.http.Handler = http.HandlerFunc(n.serveRPC)
	s.http.ReadHeaderTimeout = 10 * time.Second
	s.serving.Go(func() { _ = s.http.Serve(l) }) // it ends with close
	return s, nil
}

func (s *server) close() {
	s.http.Close()
	s.serving.Wait()
}

// maxRequest is bitcoind's own limit on a request's body, in bytes (MAX_SIZE).
const maxRequest = 32 << 20

// restBlock is the path of a block, up to its hash, in bitcoind's REST interface.
const restBlock = "/rest/block/"

func (n *Node) serveRPC(w http.ResponseWriter, r *http.Request) {
	if name, ok := strings.CutPrefix(r.URL.Path, restBlock); ok && r.Method == http.MethodGet {
		n.serveBlock(w, name)
		return
	}
	if r.Method != http.MethodPost {
		http.Error(w, "JSONRPC server handles only POST requests", http.StatusMethodNotAllowed)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRequest))
	if err != nil {
		return // the client is gone, or has its error
	}
	status, reply := n.reply(bytes.TrimSpace(body))
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(reply) // fails if the client is gone
}

// serveBlock serves a block like bitcoind with rest=1, by HASH.bin.
func (n *Node) serveBlock(w http.ResponseWriter, name string) {
	hash, err := chainhash.NewHashFromStr(strings.TrimSuffix(name, ".bin"))
	if err != nil {
		http.Error(w, "Invalid hash: "+name, http.StatusBadRequest)
		return
	}
	n.mu.Lock()
	var raw []byte
	if b, ok := n.rec.chain.blocks[*hash]; ok && b.announced {
		raw = b.raw(n.bodies)
	}
	n.mu.Unlock()
	if raw == nil {
		http.Error(w, hash.String()+" not found", http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", strconv.Itoa(len(raw)))
	_, _ = w.Write(raw) // fails if the client is gone
}

// reply handles a call, or a batch of calls.
func (n *Node) reply(body []byte) (status int, reply any) {
	var calls []json.RawMessage
	if len(body) == 0 || body[0] != '[' || json.Unmarshal(body, &calls) != nil {
		return n.replyToCall(body)
	}
	replies := make([]any, 0, len(calls))
	for _, call := range calls {
		_, reply := n.replyToCall(call)
		replies = append(replies, reply)
	}
	return http.StatusOK, replies
}

// The two forms of a reply: bitcoind's own, and JSON-RPC 2.0 for clients that request it.
type (
	reply1 struct {
		Result any             `json:"result"`
		Error  *RPCError       `json:"error"`
		ID     json.RawMessage `json:"id"`
	}
	reply2 struct {
		Version string          `json:"jsonrpc"`
		Result  any             `json:"result,omitempty"`
		Error   *RPCError       `json:"error,omitempty"`
		ID      json.RawMessage `json:"id"`
	}
)

func (n *Node) replyToCall(body []byte) (status int, reply any) {
	var call struct {
		Version string          `json:"jsonrpc"`
		ID      json.RawMessage `json:"id"`
		Method  string          `json:"method"`
		Params  json.RawMessage `json:"params"`
	}
	if err := json.Unmarshal(body, &call); err != nil {
		failure := &RPCError{codeParse, "Parse error"}
		return statusOf(failure), reply1{Error: failure}
	}
	result, err := n.call(call.Method, call.Params)
	failure := asRPCError(err)
	if call.Version == "2.0" {
		return http.StatusOK, reply2{"2.0", result, failure, call.ID}
	}
	return statusOf(failure), reply1{result, failure, call.ID}
}

func asRPCError(err error) *RPCError {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*RPCError](err); ok {
		return e
	}
	return &RPCError{codeMisc, err.Error()}
}

// statusOf is the HTTP status for a single call, as in bitcoind's JSONErrorReply.
func statusOf(failure *RPCError) int {
	switch {
	case failure == nil:
		return http.StatusOK
	case failure.Code == codeInvalidRequest:
		return http.StatusBadRequest
	case failure.Code == codeMethodNotFound:
		return http.StatusNotFound
	default:
		return http.StatusInternalServerError
	}
}

// call calls one method. The result shares nothing with the state.
func (n *Node) call(method string, raw json.RawMessage) (any, error) {
	var p params
	if len(raw) > 0 {
		if err := json.Unmarshal(raw, &p); err != nil {
			return nil, &RPCError{codeInvalidRequest, "Params must be an array here"}
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.fail != nil {
		if failure := n.fail(method); failure != nil {
			return nil, failure
		}
	}
	handle, ok := methods[method]
	if !ok {
		return nil, &RPCError{codeMethodNotFound, "Method not found"}
	}
	return handle(n, p)
}

// params are the parameters of a call.
type params []json.RawMessage

// given reports whether parameter i exists and is not null.
func (p params) given(i int) bool { return i < len(p) && string(p[i]) != "null" }

func (p params) hash(i int) (chainhash.Hash, error) {
	var text string
	if !p.given(i) || json.Unmarshal(p[i], &text) != nil {
		return chainhash.Hash{}, &RPCError{codeType, fmt.Sprintf("parameter %d: want a hash", i+1)}
	}
	hash, err := chainhash.NewHashFromStr(text)
	if err != nil || len(text) != 2*chainhash.HashSize {
		return chainhash.Hash{}, &RPCError{codeInvalidParameter, fmt.Sprintf("parameter %d must be of length 64, in hex", i+1)}
	}
	return *hash, nil
}

// number reads an integer, or a boolean as 0 and 1.
func (p params) number(i int, otherwise int64) (int64, error) {
	if !p.given(i) {
		return otherwise, nil
	}
	switch text := string(p[i]); text {
	case "false":
		return 0, nil
	case "true":
		return 1, nil
	default:
		v, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return 0, &RPCError{codeType, fmt.Sprintf("parameter %d: want a number", i+1)}
		}
		return v, nil
	}
}
