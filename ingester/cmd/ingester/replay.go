package main

import (
	"context"
	"os"

	"github.com/btcsuite/btcd/wire"

	"sightglass/ingester/replay"
	"sightglass/ingester/txfile"
)

type replayCmd struct {
	ZMQ   string   `name:"zmq" default:"tcp://127.0.0.1:28332" placeholder:"ENDPOINT" help:"Where to publish."`
	Rate  float64  `default:"7" placeholder:"TX_PER_S" help:"Transactions a second; mainnet sees about 7."`
	Loop  bool     `help:"Start again at the end, with new txids each time round."`
	Files []string `arg:"" name:"file" help:"Files as price takes them."`
	logOptions
}

func (c *replayCmd) Run(ctx context.Context) error {
	var txs []*wire.MsgTx
	for _, file := range c.Files {
		read, err := txfile.Read(file, os.Stdin)
		if err != nil {
			return err
		}
		txs = append(txs, read.Transactions...)
	}
	p, err := replay.New(replay.Options{Endpoint: c.ZMQ, Rate: c.Rate, Loop: c.Loop, Log: c.logger(os.Stderr)})
	if err != nil {
		return err
	}
	return p.Run(ctx, txs)
}
