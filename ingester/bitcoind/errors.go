package bitcoind

import (
	"errors"
	"fmt"
	"strings"
)

// A kind is an error for errors.Is. The advice is for the operator of the node or the ingester; the label is for
// metrics.
type kind struct{ text, label, advice string }

func (k *kind) Error() string { return k.text }

// wrap returns an error of this kind that wraps cause.
func (k *kind) wrap(cause error) error {
	if k.advice == "" {
		return fmt.Errorf("%w: %w", k, cause)
	}
	return fmt.Errorf("%w: %w; %s", k, cause, k.advice)
}

func (k *kind) wrapf(format string, args ...any) error {
	return k.wrap(fmt.Errorf(format, args...))
}

var (
	unreachable = &kind{"no response", "unreachable", "is bitcoind running with server=1, and is --rpc right? " +
		"The default ports are 8332 main, 18332 testnet, 48332 testnet4, 38332 signet, 18443 regtest"}
	credentials = &kind{"no valid user and password", "credentials", "--rpc-cookie must name the .cookie of this node's " +
		"data directory (there in testnet4/, signet/ or regtest/ if it is such a node), or --rpc-user and --rpc-password " +
		"must match the node's rpcauth= or rpcuser="}
	forbidden = &kind{"forbidden", "forbidden", "the node's rpcallowip= must cover our address and its rpcwhitelist=, " +
		"if it has one, this method"}
	warmingUp   = &kind{"the node is starting", "warming_up", ""}
	busy        = &kind{"the node is busy", "busy", "rpcworkqueue= limits how many calls may wait"}
	pruned      = &kind{"the node has pruned the block", "pruned", "prune= sets how much the node keeps"}
	notFound    = &kind{"not found", "not_found", ""}
	badResponse = &kind{"not a response of bitcoind", "answer", "is --rpc the RPC port, and not the P2P or ZMQ one?"}
	noMethod    = &kind{"the node lacks this method", "method", "it is too old, or built without the feature, " +
		"such as ZMQ"}
)

// The kinds of errors, for errors.Is. The first three may be temporary, and are returned only after several tries.
var (
	ErrUnreachable error = unreachable // refused, no such host, reset, timeout, a 5xx without JSON
	ErrBusy        error = busy        // the node's queue of calls is full
	ErrWarmingUp   error = warmingUp   // RPC error -28, with the node's description of what it is doing
	ErrCredentials error = credentials // HTTP 401, or the cookie file holds none
	ErrForbidden   error = forbidden   // HTTP 403
	ErrPruned      error = pruned      // the node has deleted the block
	ErrNotFound    error = notFound    // RPC error -5: no such block or transaction
	ErrResponse    error = badResponse // the response is not JSON-RPC, not what the method returns, or too large
	ErrMethod      error = noMethod    // RPC error -32601
)

// The RPC error codes that are handled, from bitcoind's rpc/protocol.h.
const (
	codeMisc     = -1 // also pruned blocks
	codeNotFound = -5
	codeWarmUp   = -28
	codeMethod   = -32601
)

// An Error is an error that bitcoind returned, for errors.As.
type Error struct {
	Method  string `json:"-"`       // the called method
	Code    int    `json:"code"`    // as in bitcoind's rpc/protocol.h
	Message string `json:"message"` // may have several lines of help
}

// Error returns the first line of the message: the rest is help for bitcoin-cli.
func (e *Error) Error() string {
	line, _, _ := strings.Cut(e.Message, "\n")
	return fmt.Sprintf("%.200s (RPC error %d)", line, e.Code)
}

// classify wraps the error in its kind, if it has one.
func (e *Error) classify() error {
	switch {
	case e.Code == codeWarmUp:
		return warmingUp.wrap(e)
	case e.Code == codeNotFound:
		return notFound.wrap(e)
	case e.Code == codeMethod:
		return noMethod.wrap(e)
	case e.Code == codeMisc && strings.Contains(e.Message, "pruned data"):
		return pruned.wrap(e)
	}
	return e
}

// transient reports whether another try may succeed.
func transient(err error) bool {
	return errors.Is(err, ErrUnreachable) || errors.Is(err, ErrBusy) || errors.Is(err, ErrWarmingUp)
}

// AboutOne reports whether an error is about the one requested block or transaction: the node is up, accepts our
// credentials and serves others, but its result for this one is an error, or not what the method returns.
func AboutOne(err error) bool {
	var rpcErr *Error
	switch {
	case transient(err), errors.Is(err, ErrCredentials), errors.Is(err, ErrForbidden), errors.Is(err, ErrMethod):
		return false
	}
	return errors.As(err, &rpcErr) || errors.Is(err, ErrResponse)
}
