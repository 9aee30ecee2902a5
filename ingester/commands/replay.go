package commands

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/btcsuite/btcd/wire"

	"sightglass/ingester"
	"sightglass/ingester/replay"
	"sightglass/ingester/transcript"
	"sightglass/ingester/txfile"
	"sightglass/shared/daemon"
)

// Replay publishes files of transactions, or recordings of a node, over ZMQ in place of bitcoind.
type Replay struct {
	ZMQ       string   `name:"zmq" default:"tcp://127.0.0.1:28332" placeholder:"ENDPOINT" help:"ZMQ endpoint to publish on."`
	Rate      float64  `default:"7" placeholder:"TX_PER_S" help:"For transactions: rate per second; mainnet has about 7."`
	Loop      bool     `help:"For transactions: restart at the end, with new txids in each round."`
	Speed     float64  `default:"1" help:"For transcripts: 1 is the recorded speed, 10 ten times faster, 0 as fast as possible."`
	RPCListen string   `name:"rpc-listen" default:"" placeholder:"ADDRESS" help:"For transcripts: address of an RPC server that responds as the recorded node would have, with any credentials. Empty: no RPC."`
	Files     []string `arg:"" name:"file" help:"Files of transactions, as for the command price; or transcripts, as written by the command record, which are merged by time."`
	daemon.LogOptions
}

// Run publishes until the files end or ctx does.
func (c *Replay) Run(ctx context.Context) error {
	p, err := c.player(os.Stdin, os.Stderr)
	if err != nil {
		return err
	}
	return p(ctx)
}

// player returns the function that plays the files.
func (c *Replay) player(stdin io.Reader, stderr io.Writer) (func(context.Context) error, error) {
	transcripts := 0
	for _, file := range c.Files {
		if file != txfile.Stdin && transcript.IsFile(file) {
			transcripts++
		}
	}
	switch transcripts {
	case 0:
		return c.transactions(stdin, stderr)
	case len(c.Files):
		return c.transcript(stderr)
	default:
		return nil, fmt.Errorf("%d of the %d files are transcripts, the others are not: replay them separately", transcripts, len(c.Files))
	}
}

func (c *Replay) transactions(stdin io.Reader, stderr io.Writer) (func(context.Context) error, error) {
	var txs []*wire.MsgTx
	for _, file := range c.Files {
		read, err := txfile.Read(file, stdin)
		if err != nil {
			return nil, err
		}
		txs = append(txs, read.Transactions...)
	}
	p, err := replay.New(replay.Options{Endpoint: c.ZMQ, Rate: c.Rate, Loop: c.Loop, Log: c.log(stderr)})
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) error { return p.Run(ctx, txs) }, nil
}

func (c *Replay) transcript(stderr io.Writer) (func(context.Context) error, error) {
	lines, err := transcript.ReadFiles(c.Files...)
	if err != nil {
		return nil, err
	}
	log := c.log(stderr)
	n, err := replay.NewNode(replay.NodeOptions{Endpoint: c.ZMQ, RPCListen: c.RPCListen, Speed: c.Speed, Log: log}, lines)
	if err != nil {
		return nil, err
	}
	if n.RPCURL() != "" {
		log.Info("serving RPC", "url", n.RPCURL())
	}
	return n.Run, nil
}

func (c *Replay) log(w io.Writer) *slog.Logger {
	return c.Logger(w).With(daemon.Component, ingester.LogReplay)
}
