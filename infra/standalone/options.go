// Package standalone runs an ingester, an edge and their Redis in one process, beside a node.
package standalone

import (
	"cmp"
	"errors"
	"io"
	"os"
	"path/filepath"

	"sightglass/edge"
	"sightglass/ingester"
	"sightglass/ingester/peers"
	"sightglass/shared/daemon"
)

// Options are the settings of both daemons, each once, and the data directory. Program.Defaults must have Defaults.
type Options struct {
	ingester.NodeOptions `kong:"set='no_zmq= Empty: the node is asked.',set='no_rpc=the node on this machine, or none if --zmq is set'"`
	peers.Settings
	edge.ServerOptions
	daemon.Options `kong:"set='snapshots=go through, instead of one of our own in --data-dir',set='internal=',set='summary=the price, and what was received; and a second line about clients'"`
	DataDir        string `default:"" placeholder:"PATH" help:"Directory for the history and the engine's state. Empty: the systemd unit's StateDirectory=, or sightglass in $XDG_STATE_HOME (~/.local/state). Not used with --redis."`

	Out io.Writer `kong:"-"` // for the addresses, and what to do about a node that is not ready
}

// Defaults are the defaults that differ from those of the daemons: the node is searched for, Redis is our own, a home has few
// clients, and no load balancer in front needs time to notice that the program stops.
func Defaults() map[string]string {
	return map[string]string{"zmq": "", "rpc": "", "redis": "", "max-clients": "500", "drain-delay": "0s", "drain-window": "0s", "grace": "1s"}
}

// Validate returns an error that names every invalid setting and its valid values.
func (o Options) Validate() error {
	if o.Peers.On && len(o.ZMQ) > 0 {
		return errors.New("--peers is set, and --zmq too: want a node of your own, or peers; the node is better")
	}
	// What is found later is valid.
	if o.searches() && o.RPC == "" {
		o.RPC = defaultRPC
	}
	if o.searches() && !o.hasCredentials() {
		o.RPCCookie = "found later"
	}
	if len(o.ZMQ) == 0 {
		o.ZMQ = []string{defaultZMQ}
	}
	if o.Redis == "" {
		o.Redis = "unix:///redis.sock"
	}
	return errors.Join(o.ingester().Validate(), edge.Options{ServerOptions: o.ServerOptions, Options: daemon.Options{RedisOptions: o.RedisOptions}}.Validate())
}

func (o Options) ingester() ingester.Options {
	o.InternalListen = "" // the edge's has the metrics of both, before there is a node
	return ingester.Options{NodeOptions: o.NodeOptions, Settings: o.Settings, Options: o.Options}
}

func (o Options) edge() edge.Options {
	return edge.Options{ServerOptions: o.ServerOptions, Options: o.Options}
}

// dataDir returns the data directory for the setting --data-dir.
func dataDir(setting string) (string, error) {
	dir := cmp.Or(setting, os.Getenv("STATE_DIRECTORY"))
	if dir == "" {
		state := os.Getenv("XDG_STATE_HOME")
		if !filepath.IsAbs(state) { // relative ones are invalid by the XDG specification
			home, err := os.UserHomeDir()
			if err != nil {
				return "", errors.New("no directory for the history and the engine's state: set --data-dir, or HOME")
			}
			state = filepath.Join(home, ".local", "state")
		}
		dir = filepath.Join(state, "sightglass")
	}
	return filepath.Abs(dir)
}
