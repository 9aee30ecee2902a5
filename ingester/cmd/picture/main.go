// Command picture draws a file of transactions, as the engine sees it, as two SVG files: the amounts with the ladder of
// round dollars, and the posterior over prices.
//
//	picture --out DIR FILE
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"sightglass/ingester/payment"
	"sightglass/ingester/price"
	"sightglass/ingester/txfile"
)

func main() {
	out := flag.String("out", ".", "folder for ladder.svg and posterior.svg")
	flag.Parse()
	if err := run(*out, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "picture:", err)
		os.Exit(1)
	}
}

func run(out string, files []string) error {
	if len(files) != 1 {
		return fmt.Errorf("want one file, got %d", len(files))
	}
	file, err := txfile.Read(files[0], os.Stdin)
	if err != nil {
		return err
	}
	engine, err := price.New(price.Options{})
	if err != nil {
		return err
	}
	at := time.Unix(0, 0)
	var amounts []payment.Satoshi
	for _, paid := range payment.All(file.Transactions) {
		amounts = append(amounts, paid...)
		engine.Add(at, paid)
	}
	estimate := engine.Estimate(at)
	if estimate.Price == 0 {
		return fmt.Errorf("%s: no price found in %d payments", files[0], len(amounts))
	}
	for name, drawing := range map[string]string{
		"ladder.svg":    drawLadder(amounts, estimate),
		"posterior.svg": drawPosterior(engine, estimate),
	} {
		if err := os.WriteFile(filepath.Join(out, name), []byte(drawing), 0o644); err != nil {
			return err
		}
	}
	return nil
}
