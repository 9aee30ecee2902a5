package bitcoind

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"github.com/btcsuite/btcd/chaincfg/chainhash"
)

// A probe calls one of the methods that this package uses, with parameters that change nothing and identify nothing on
// the node.
type probe struct {
	method string
	params []any
}

// probes has one probe for each method that a Client calls. A test compares the lists.
var probes = []probe{
	{"getrawmempool", []any{false, true}},
	{"getmempoolinfo", nil},
	{"getmempoolentry", []any{chainhash.Hash{}}},
	{"getrawtransaction", []any{chainhash.Hash{}}},
	{"getblockchaininfo", nil},
	{"getblockhash", []any{0}},
	{"getblockheader", []any{chainhash.Hash{}, true}},
	{"getblock", []any{chainhash.Hash{}, 0}},
	{"getzmqnotifications", nil},
	{"getnetworkinfo", nil},
}

// Whitelist returns the value of rpcwhitelist= in bitcoin.conf that allows a user all methods that a Client calls.
func Whitelist(user string) string {
	methods := make([]string, len(probes))
	for i, t := range probes {
		methods[i] = t.method
	}
	return user + ":" + strings.Join(methods, ",")
}

// Access reports which of the methods that a Client calls are not available on a node.
type Access struct {
	User      string   // the user that the Client logs in as
	Forbidden []string // by rpcwhitelist= or rpcallowip=
	Missing   []string // unknown to the node
	All       bool     // every method is forbidden
}

// Allows reports whether a method is available.
func (a Access) Allows(method string) bool {
	return !slices.Contains(a.Forbidden, method) && !slices.Contains(a.Missing, method)
}

// Access calls every method that a Client calls once. Any other error of the node, such as an unknown transaction,
// shows that the method is available.
func (c *Client) Access(ctx context.Context) (Access, error) {
	user, _, err := c.login()
	if err != nil {
		return Access{}, credentials.wrap(err)
	}
	access := Access{User: user}
	for _, p := range probes {
		_, err := invoke(ctx, c, func(json.RawMessage) (struct{}, error) { return struct{}{}, nil }, p.method, p.params...)
		var rpcErr *Error
		switch {
		case errors.Is(err, ErrForbidden):
			access.Forbidden = append(access.Forbidden, p.method)
		case errors.Is(err, ErrMethod):
			access.Missing = append(access.Missing, p.method)
		case err != nil && (!errors.As(err, &rpcErr) || errors.Is(err, ErrWarmingUp)):
			return Access{}, err
		}
	}
	access.All = len(access.Forbidden) == len(probes)
	return access, nil
}
