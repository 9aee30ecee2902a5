package main

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

type replayCmd struct {
	ZMQ       string   `name:"zmq" default:"tcp://127.0.0.1:28332" placeholder:"ENDPOINT" help:"Where to publish."`
	Rate      float64  `default:"7" placeholder:"TX_PER_S" help:"Of transactions: how many a second; mainnet sees about 7."`
	Loop      bool     `help:"Of transactions: start again at the end, with new txids each time round."`
	Speed     float64  `default:"1" help:"Of a transcript: 1 as it was recorded, 10 ten times faster, 0 as fast as possible."`
	RPCListen string   `name:"rpc-listen" default:"" placeholder:"ADDRESS" help:"Of a transcript: answer RPC here as the node would have, for any credentials. Empty: not at all."`
	Files     []string `arg:"" name:"file" help:"Files of transactions as price takes them, or transcripts as record writes them, which are merged by time."`
	daemon.LogOptions
}

func (c *replayCmd) Run(ctx context.Context) error {
	p, err := c.player(os.Stdin, os.Stderr)
	if err != nil {
		return err
	}
	return p(ctx)
}

// player gives what plays the files.
func (c *replayCmd) player(stdin io.Reader, stderr io.Writer) (func(context.Context) error, error) {
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
		return nil, fmt.Errorf("%d of the %d files are transcripts, the others are not: play them apart", transcripts, len(c.Files))
	}
}

func (c *replayCmd) transactions(stdin io.Reader, stderr io.Writer) (func(context.Context) error, error) {
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

func (c *replayCmd) transcript(stderr io.Writer) (func(context.Context) error, error) {
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
		log.Info("answering RPC", "url", n.RPCURL())
	}
	return n.Run, nil
}

func (c *replayCmd) log(w io.Writer) *slog.Logger {
	return c.Logger(w).With(daemon.Component, ingester.LogReplay)
}
