package standalone

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"sightglass/ingester/bitcoind"
	"sightglass/ingester/node"
	"sightglass/ingester/zmqsub"
	"sightglass/shared/daemon"
)

// What a node with default settings has.
const (
	defaultRPC = "http://127.0.0.1:8332"
	defaultZMQ = "tcp://127.0.0.1:28332"
)

// cookies are the places where bitcoind's cookie may be: of the own user, of Debian's and Bitcoin Core's units, of the
// user bitcoin in the usual guides, of RaspiBlitz, and of the snap.
func cookies() (paths []string) {
	for _, dir := range []string{"~/.bitcoin", "/var/lib/bitcoind", "/var/lib/bitcoin", "/home/bitcoin/.bitcoin", "/data/bitcoin", "/mnt/hdd/bitcoin", "/mnt/hdd/app-data/bitcoin", "~/snap/bitcoin-core/common/.bitcoin"} {
		if below, ok := strings.CutPrefix(dir, "~/"); ok {
			home, err := os.UserHomeDir()
			if err != nil {
				continue
			}
			dir = filepath.Join(home, below)
		}
		paths = append(paths, filepath.Join(dir, ".cookie"))
	}
	return paths
}

// searches reports whether the node is one with RPC: neither ZMQ alone is set, nor peers.
func (o Options) searches() bool { return o.RPC != "" || len(o.ZMQ) == 0 && !o.Peers.On }

func (o Options) hasCredentials() bool {
	u, err := url.Parse(o.RPC)
	return o.RPCCookie+o.RPCUser+o.RPCPassword != "" || err == nil && u.User != nil
}

// findNode completes the settings of a node that is on this machine, and keeps those that are set. It connects to nothing.
// The cookies are those that can be read, if none was set: each may be of another node.
func (o *Options) findNode() (cookies []string, err error) {
	if !o.searches() {
		return nil, nil
	}
	told := o.RPC
	o.RPC = cmp.Or(o.RPC, defaultRPC)
	if !o.hasCredentials() {
		switch cookies, err = findCookies(); {
		case err != nil && told != "":
			return nil, fmt.Errorf("--rpc %s has no credentials: add --rpc-cookie PATH, or --rpc-user and --rpc-password; %w", withoutUser(told), err)
		case err != nil:
			return nil, err
		}
		o.RPCCookie = cookies[0]
	}
	if o.RPCCookie != "" {
		if err := readable(o.RPCCookie); errors.Is(err, os.ErrPermission) {
			return nil, unreadable(o.RPCCookie, err)
		}
	}
	return cookies, nil
}

func readable(path string) error {
	f, err := os.Open(path)
	if err == nil {
		f.Close()
	}
	return err
}

// findCookies returns the cookies that can be read, or an error if there is none.
func findCookies() (found []string, err error) {
	var denied error
	paths := cookies()
	for _, path := range paths {
		switch err := readable(path); {
		case err == nil:
			found = append(found, path)
		case errors.Is(err, os.ErrPermission) && denied == nil:
			denied = unreadable(path, err)
		}
	}
	switch {
	case len(found) > 0:
		return found, nil
	case denied != nil:
		return nil, denied
	}
	return nil, fmt.Errorf("found no node on this machine: start bitcoind with server=1 in bitcoin.conf, or name the node with --rpc http://HOST:8332 and --rpc-cookie PATH, or --rpc-user and --rpc-password, or run without a node by --peers; none of these cookies exists: %s",
		strings.Join(paths, ", "))
}

func unreadable(path string, err error) error {
	name := "USER"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	return fmt.Errorf("cannot read the node's cookie: %w; write rpccookieperms=group into bitcoin.conf, restart bitcoind, and add this user to the group of %s with `sudo adduser %s bitcoin`; or set --rpc-user and --rpc-password",
		err, path, name)
}

// retryInterval is the pause between requests to a node that is not ready.
const retryInterval = 2 * time.Second

// awaitNode waits until the node responds, and publishes its transactions, and sets --zmq to where. It tells the operator
// what it waits for. The error is permanent.
func (s *Standalone) awaitNode(ctx context.Context) error {
	o := &s.opts
	if o.Peers.On {
		fmt.Fprintln(o.Out, "  node       none: listening to peers of Bitcoin's network, which is less trustworthy than a node (docs/security.md)")
		if s.redis != nil {
			return s.redis.CheckNetwork(o.PeersNetwork)
		}
		return nil
	}
	if o.RPC == "" {
		fmt.Fprintf(o.Out, "  node       ZMQ alone at %s, without RPC: the window starts empty\n", strings.Join(o.ZMQ, ","))
		return nil
	}
	retry := time.NewTicker(retryInterval)
	defer retry.Stop()
	outage, told := daemon.Outage{Log: o.Logger(logStandalone)}, false
	for i := 0; ; i++ {
		if len(s.cookies) > 1 { // of several nodes, or left by one that was killed
			o.RPCCookie = s.cookies[i%len(s.cookies)]
		}
		err := s.inspect(ctx)
		var advice *settingsAdvice
		var permanent permanentError
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil:
			outage.Recovered("the node responds")
			return nil
		case errors.As(err, &advice):
			if !told {
				fmt.Fprint(o.Out, advice)
			}
			told = true
		case errors.As(err, &permanent), errors.Is(err, bitcoind.ErrCredentials) && o.RPCCookie == "":
			return err
		default:
			outage.Failed("waiting for the node", err) // the error names it
		}
		select {
		case <-ctx.Done():
			return nil
		case <-retry.C:
		}
	}
}

// A permanentError is one that waiting does not end.
type permanentError struct{ error }

func (e permanentError) Unwrap() error { return e.error }

// settingsAdvice are lines that are missing in bitcoin.conf. The node may be restarted with them while we wait.
type settingsAdvice struct{ lines []string }

func (a *settingsAdvice) Error() string {
	return "the node does not publish its transactions. Add to bitcoin.conf, and restart bitcoind; sightglass waits for it:\n\n" +
		strings.Join(a.lines, "\n") + "\n\n"
}

// maxInspected bounds the responses here, in bytes: whatever listens at the address is not known to be a node yet.
const maxInspected = 1 << 20

// inspect asks the node once.
func (s *Standalone) inspect(ctx context.Context) error {
	o := &s.opts
	client, err := bitcoind.New(bitcoind.Options{URL: o.RPC, Cookie: o.RPCCookie, User: o.RPCUser, Password: o.RPCPassword, MaxResponse: maxInspected})
	if err != nil {
		return permanentError{err}
	}
	defer client.Close()
	chain, err := client.Chain(ctx)
	if err != nil {
		return err
	}
	if s.redis != nil {
		if err := s.redis.CheckNetwork(chain.Network); err != nil {
			return permanentError{err}
		}
	}
	if len(o.ZMQ) == 0 {
		published, err := client.Notifications(ctx)
		switch {
		case errors.Is(err, bitcoind.ErrForbidden):
			o.Log.Warn("the node does not say where it publishes its transactions (getzmqnotifications is forbidden); set --zmq if it is elsewhere", "zmq", defaultZMQ)
			o.ZMQ = []string{defaultZMQ}
		case errors.Is(err, bitcoind.ErrMethod):
			return permanentError{errors.New("bitcoind is built without ZMQ: use a release of bitcoincore.org, or a package with ZMQ")}
		case err != nil:
			return err
		default:
			if o.ZMQ, err = endpoints(published, o.RPC); err != nil {
				return err
			}
		}
	}
	fmt.Fprintf(o.Out, "  node       %s, %s at block %d, publishes at %s\n", withoutUser(o.RPC), chain.Network, chain.Blocks, strings.Join(o.ZMQ, ","))
	if chain.InitialBlockDownload {
		fmt.Fprintf(o.Out, "The node is in its initial block download, at block %d of %d: there is no new price until it is complete; sightglass waits for it.\n", chain.Blocks, chain.Headers)
	}
	return nil
}

// withoutUser returns a URL without the user, the password and the parameters, which may contain one too.
func withoutUser(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return "URL"
	}
	u.User, u.RawQuery = nil, ""
	return u.String()
}

// endpoints returns where a node publishes the topics of the ingester, as this machine reaches it. Without rawtx the error
// is a *settingsAdvice.
func endpoints(published []bitcoind.Notification, rpc string) (all []string, err error) {
	var missing []string
	at := defaultZMQ
	for _, topic := range []string{node.TopicRawTx, node.TopicSequence} {
		i := slices.IndexFunc(published, func(n bitcoind.Notification) bool { return n.Topic == topic })
		if i < 0 {
			missing = append(missing, topic)
			continue
		}
		if err := zmqsub.CheckEndpoints([]string{published[i].Address}); err != nil {
			return nil, permanentError{fmt.Errorf("the node says that it publishes at an address that cannot be used: %w; set --zmq to where it can be reached", err)}
		}
		at = published[i].Address
		if endpoint := reachable(at, rpc); !slices.Contains(all, endpoint) {
			all = append(all, endpoint)
		}
	}
	if !slices.Contains(missing, node.TopicRawTx) { // the ingester warns if it lacks the sequence
		return all, nil
	}
	for i, topic := range missing {
		missing[i] = "zmqpub" + topic + "=" + at
	}
	return nil, &settingsAdvice{lines: missing}
}

// reachable replaces the host of an address that is valid on the node's machine only by the RPC's.
func reachable(address, rpc string) string {
	u, err := url.Parse(address)
	at, rpcErr := url.Parse(rpc)
	if err != nil || rpcErr != nil || u.Scheme != "tcp" {
		return address
	}
	ip, rpcIP := net.ParseIP(u.Hostname()), net.ParseIP(at.Hostname())
	rpcIsHere := at.Hostname() == "localhost" || rpcIP.IsLoopback()
	if u.Hostname() == "*" || ip.IsUnspecified() || ip.IsLoopback() && !rpcIsHere {
		u.Host = net.JoinHostPort(at.Hostname(), u.Port())
	}
	return u.String()
}
