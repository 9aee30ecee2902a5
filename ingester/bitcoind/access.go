package bitcoind

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"github.com/btcsuite/btcd/chaincfg/chainhash"
)

// A trial is one of the methods that this package calls, with parameters that change nothing and name what no node has.
type probe struct {
	method string
	params []any
}

// trials has every method that a Client's own calls use. A test calls them all and compares.
var probes = []probe{
	{"getrawmempool", []any{false, true}},
	{"getmempoolinfo", nil},
	{"getmempoolentry", []any{chainhash.Hash{}}},
	{"getrawtransaction", []any{chainhash.Hash{}}},
	{"getblockchaininfo", nil},
	{"getblockheader", []any{chainhash.Hash{}, true}},
	{"getblock", []any{chainhash.Hash{}, 0}},
	{"getzmqnotifications", nil},
	{"getnetworkinfo", nil},
}

// Whitelist is the value of rpcwhitelist= in bitcoin.conf that allows a user all methods that a Client calls.
func Whitelist(user string) string {
	methods := make([]string, len(probes))
	for i, t := range probes {
		methods[i] = t.method
	}
	return user + ":" + strings.Join(methods, ",")
}

// Access is which of the methods that a Client calls a node does not carry out for us.
type Access struct {
	User      string   // that we log in as
	Forbidden []string // forbidden by rpcwhitelist= or rpcallowip=
	Missing   []string // the node does not know them
	All       bool     // none is carried out: Refused has all of them
}

// Allows reports whether the node carries a method out.
func (a Access) Allows(method string) bool {
	return !slices.Contains(a.Forbidden, method) && !slices.Contains(a.Missing, method)
}

// Access tries every method that a Client calls, once each. Whatever else the node answers, such as that it has no such
// transaction, it does carry the method out.
func (c *Client) Access(ctx context.Context) (Access, error) {
	user, _, err := c.login()
	if err != nil {
		return Access{}, credentials.wrap(err)
	}
	access := Access{User: user}
	for _, t := range probes {
		_, err := invoke(ctx, c, func(json.RawMessage) (struct{}, error) { return struct{}{}, nil }, t.method, t.params...)
		var said *Error
		switch {
		case errors.Is(err, ErrForbidden):
			access.Forbidden = append(access.Forbidden, t.method)
		case errors.Is(err, ErrMethod):
			access.Missing = append(access.Missing, t.method)
		case err != nil && (!errors.As(err, &said) || errors.Is(err, ErrWarmingUp)):
			return Access{}, err
		}
	}
	access.All = len(access.Forbidden) == len(probes)
	return access, nil
}
