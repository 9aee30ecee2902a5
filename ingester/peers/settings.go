package peers

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/alecthomas/kong"
	"github.com/btcsuite/btcd/chaincfg"
)

// Settings are those of a program that listens to peers. The tags hold the defaults and the help.
type Settings struct {
	Peers        List   `name:"peers" placeholder:"[HOST:PORT,...]" help:"Listen to peers of Bitcoin's network, without a node: those that DNS seeds and other peers name, or the given ones."`
	PeersCount   int    `name:"peers-count" default:"8" help:"Number of peers that are connected at a time, 1 to 32."`
	PeersQuorum  int    `name:"peers-quorum" default:"3" help:"Count a transaction when this many peers have announced it, or all of fewer that --peers names."`
	PeersBlocks  bool   `name:"peers-blocks" default:"true" negatable:"" help:"Also fetch the blocks of the last 3 h, about 30 MB at the start and 250 MB a day."`
	PeersNetwork string `name:"peers-network" default:"main" enum:"main,testnet3,signet,regtest,simnet" help:"The network of --peers: main, testnet3, signet, regtest or simnet. Only mainnet's coins have a price."`
	// PeersDir is where the known addresses are kept.
	PeersDir   string `name:"peers-dir" default:"" placeholder:"PATH" help:"Directory in which the addresses of peers are kept. Empty: sightglass's data directory; the ingester asks the DNS seeds at each start."`
	PeersProxy string `name:"proxy" default:"" placeholder:"HOST:PORT" help:"SOCKS5 proxy for --peers and for the names of DNS seeds, such as Tor's 127.0.0.1:9050."`
}

// networks are the values of --peers-network.
var networks = map[string]*chaincfg.Params{
	"main": &chaincfg.MainNetParams, "testnet3": &chaincfg.TestNet3Params, "signet": &chaincfg.SigNetParams,
	"regtest": &chaincfg.RegressionNetParams, "simnet": &chaincfg.SimNetParams,
}

// A List is the value of --peers: nothing, or addresses.
type List struct {
	On    bool
	Named []string
}

// Decode implements kong.MapperValue: the addresses may be missing.
func (l *List) Decode(ctx *kong.DecodeContext) error {
	l.On, l.Named = true, nil
	token := ctx.Scan.Peek()
	text, isText := token.Value.(string)
	switch {
	case token.IsEOL() || !isText, token.Type != kong.FlagValueToken && !strings.Contains(text, ":"):
		return nil
	}
	ctx.Scan.Pop()
	switch text {
	case "true":
		return nil
	case "", "false":
		l.On = false
		return nil
	}
	l.Named = strings.Split(text, ",")
	return nil
}

// IsBool lets kong accept the flag without a value.
func (*List) IsBool() bool { return true }

// most is the highest number of peers. A tracker has a bit for each, and new ones come before old ones are gone.
const most = maxPeers / 2

// CheckPeers returns an error that names an invalid setting and its valid values.
func (s Settings) CheckPeers() error {
	if !s.Peers.On {
		if s.PeersProxy != "" {
			return errors.New("--proxy is set without --peers, and would not be used: set both, or neither")
		}
		return nil
	}
	if networks[s.PeersNetwork] == nil {
		return fmt.Errorf("--peers-network %q: want main, testnet3, signet, regtest or simnet", s.PeersNetwork)
	}
	for _, addr := range s.Peers.Named {
		host, port, err := net.SplitHostPort(addr)
		if n, numErr := strconv.Atoi(port); err != nil || numErr != nil || n < 1 || n > 65535 || host == "" {
			return fmt.Errorf("--peers %q: want HOST:PORT, such as 192.0.2.1:8333 or [2001:db8::1]:8333", addr)
		}
	}
	switch {
	case s.PeersCount < 1 || s.PeersCount > most:
		return fmt.Errorf("--peers-count %d: want 1 to %d", s.PeersCount, most)
	case s.PeersQuorum < 1 || s.PeersQuorum > s.PeersCount:
		return fmt.Errorf("--peers-quorum %d: want 1 to %d, the number of peers", s.PeersQuorum, s.PeersCount)
	}
	if s.PeersProxy != "" {
		if _, _, err := net.SplitHostPort(s.PeersProxy); err != nil {
			return fmt.Errorf("--proxy %q: want HOST:PORT, such as 127.0.0.1:9050", s.PeersProxy)
		}
	}
	return nil
}
