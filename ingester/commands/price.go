// Package commands holds the commands that the programs ingester and sightglass have in common, besides those of
// shared/daemon. Their fields are flags, for kong.
package commands

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"time"

	"github.com/btcsuite/btcd/wire"

	"sightglass/ingester/payment"
	"sightglass/ingester/price"
	"sightglass/ingester/txfile"
	"sightglass/shared/daemon"
)

// Price prints the price that files of transactions show.
type Price struct {
	PriceHint float64  `aliases:"near" placeholder:"USD" help:"Start from this price, which must be right within about 10 %. Without it, the price is found without a hint."`
	Format    string   `default:"text" enum:"text,json" help:"text: one line per file; json: one object per file."`
	Files     []string `arg:"" name:"file" help:"Blocks in consensus serialisation, or text with one raw transaction in hex per line; plain or gzipped; - for standard input."`
}

// A result is one file's price, as printed with --format json.
type result struct {
	File         string  `json:"file"`
	Status       string  `json:"status"` // warming, live or contested, as in snapshots
	Price        float64 `json:"price"`  // USD; 0: the evidence is too weak
	Confidence   float64 `json:"confidence"`
	Low          float64 `json:"low"`
	High         float64 `json:"high"`
	Transactions int     `json:"transactions"`
	OutputsUsed  int     `json:"outputs_used"`
}

var errSomeFiles = errors.New("not every file could be read")

// Run prints one line or object for each file, even if another one cannot be read.
func (c *Price) Run(p daemon.Program) error {
	return c.priceAll(os.Stdin, os.Stdout, log.New(os.Stderr, p.Name+": ", 0))
}

func (c *Price) priceAll(stdin io.Reader, stdout io.Writer, failures *log.Logger) error {
	var failed error
	for _, file := range c.Files {
		read, err := txfile.Read(file, stdin)
		if err != nil {
			failures.Print(err)
			failed = errSomeFiles
			continue
		}
		a, err := estimate(read.Transactions, price.USD(c.PriceHint))
		if err != nil {
			return err
		}
		a.File = file
		if err := c.print(stdout, a); err != nil {
			return err
		}
	}
	return failed
}

// estimate runs the engine on transactions that are all seen at once.
func estimate(txs []*wire.MsgTx, near price.USD) (result, error) {
	engine, err := price.New(price.Options{Near: near})
	if err != nil {
		return result{}, err
	}
	a := result{Transactions: len(txs)}
	at := time.Unix(0, 0)
	for _, amounts := range payment.All(txs) {
		engine.Add(at, amounts)
		a.OutputsUsed += len(amounts)
	}
	e := engine.Estimate(at)
	a.Price, a.Low, a.High = e.Price.Cents(), e.Low.Cents(), e.High.Cents()
	a.Confidence, a.Status = e.Confidence, e.Status.String()
	return a, nil
}

func (c *Price) print(w io.Writer, a result) error {
	if c.Format == "json" {
		return json.NewEncoder(w).Encode(a)
	}
	if a.Price == 0 {
		_, err := fmt.Fprintf(w, "%s: no price found in %d payments of %d transactions\n", a.File, a.OutputsUsed, a.Transactions)
		return err
	}
	note := ""
	if a.Status == price.Contested.String() {
		note = "; contested: round amounts are paid at a second price"
	}
	_, err := fmt.Fprintf(w, "%s: %.2f USD, confidence %.3f, 90 %% between %.2f and %.2f (%d payments of %d transactions)%s\n",
		a.File, a.Price, a.Confidence, a.Low, a.High, a.OutputsUsed, a.Transactions, note)
	return err
}
