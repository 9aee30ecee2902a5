package bitcoind

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/btcsuite/btcd/wire"

	"sightglass/ingester/testblock"
)

// recording has the responses of a bitcoind 28.1, by method and parameters, in the order of the calls.
type recording map[string][]json.RawMessage

func record(t *testing.T) recording {
	t.Helper()
	data, err := os.ReadFile(testblock.Data(t, "bitcoind/rpc.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	r := make(recording)
	lines := bufio.NewScanner(bytes.NewReader(data))
	lines.Buffer(nil, len(data))
	for lines.Scan() {
		var call struct {
			Method         string
			Params, Result json.RawMessage
		}
		if err := json.Unmarshal(lines.Bytes(), &call); err != nil {
			t.Fatal(err)
		}
		key := call.Method + strings.ReplaceAll(string(call.Params), " ", "")
		r[key] = append(r[key], call.Result)
	}
	r.entries(t)
	return r
}

// entries returns responses to getmempoolentry from the verbose getrawmempool: they are the same objects.
func (r recording) entries(t *testing.T) {
	t.Helper()
	var all map[string]json.RawMessage
	if err := json.Unmarshal(r["getrawmempool[true]"][0], &all); err != nil {
		t.Fatal(err)
	}
	for id, entry := range all {
		r[`getmempoolentry["`+id+`"]`] = []json.RawMessage{entry}
	}
}

// answer returns the responses to one call in turn.
func (r recording) answer(method, params string) (string, *Error) {
	list := r[method+params]
	if len(list) == 0 {
		return "", &Error{Code: codeNotFound, Message: "Transaction not in mempool"}
	}
	if len(list) > 1 {
		r[method+params] = list[1:]
	}
	return string(list[0]), nil
}

func hash(t testing.TB, text string) chainhash.Hash {
	t.Helper()
	h, err := chainhash.NewHashFromStr(text)
	if err != nil {
		t.Fatal(err)
	}
	return *h
}

func TestCalls_RealState(t *testing.T) {
	c := open(t, Options{URL: newNode(t, record(t).answer).URL})
	chain, err := c.Chain(t.Context())
	want := Chain{
		Network: "regtest", Blocks: 110, Headers: 110, BestTime: time.Unix(1795405538, 0),
		Best: hash(t, "28608d88756c8e53adf25c64e499592386cfd3f4769105dff4f62aa988a4bcf0"),
	}
	if err != nil || chain != want {
		t.Errorf("got chain %+v, %v\nwant %+v", chain, err, want)
	}
	network, err := c.Network(t.Context())
	if err != nil || network != (Network{"/Satoshi:28.1.0(inquisition)/", true}) {
		t.Errorf("got network %+v, %v, want the recorded one", network, err)
	}
	list, err := c.Notifications(t.Context())
	if err != nil || len(list) != 4 || list[2] != (Notification{"rawtx", "tcp://127.0.0.1:28932", 1000}) {
		t.Errorf("got notifications %+v, %v, want the recorded ones", list, err)
	}
}

func TestCalls_RealMempool(t *testing.T) {
	c := open(t, Options{URL: newNode(t, record(t).answer).URL})
	m, err := c.Mempool(t.Context())
	if err != nil || len(m.IDs) != 5 || m.Sequence != 6 {
		t.Fatalf("got %d transactions at %d, %v; want 5 at 6", len(m.IDs), m.Sequence, err)
	}
	if want := hash(t, "b6e436c12b0bd06008786bd2db04a9b17b05e2e48f8a05be76491014589de5e6"); m.IDs[0] != want {
		t.Errorf("got first ID %v, want %v", m.IDs[0], want)
	}
	gone := chainhash.HashH(nil)
	times, err := c.EntryTimes(t.Context(), append([]chainhash.Hash{gone}, m.IDs...))
	if err != nil || len(times) != 6 || !times[0].IsZero() {
		t.Fatalf("got times %v, %v, want all", times, err)
	}
	for i, at := range times[1:] {
		if at.Unix() < 1795405520 || at.Unix() > 1795405530 {
			t.Errorf("%v: got entry time %v, want the recorded one", m.IDs[i], at)
		}
	}
	for range 2 {
		_, _ = c.Mempool(t.Context())
	}
	if m, err = c.Mempool(t.Context()); err != nil || m.IDs == nil || len(m.IDs) != 0 || m.Sequence != 25 {
		t.Errorf("got %v, %v; want an empty one at 25", m, err)
	}
}

func TestCalls_RealBlockAndTransactions(t *testing.T) {
	c := open(t, Options{URL: newNode(t, record(t).answer).URL})
	id := hash(t, "099caa689ca35b499feaeb2b8e517a10869890c4d8717180719d099352051f5b")
	block, err := c.Block(t.Context(), id)
	if err != nil || block.BlockHash() != id || len(block.Transactions) != 6 {
		t.Fatalf("got %v, %v; want the block with 6 transactions", block, err)
	}
	known := hash(t, "b986ff04326e549f84a22a80d9595500b2f1d575f078c1528ef4871221f9ad8f")
	txs, err := c.Transactions(t.Context(), []chainhash.Hash{known, id})
	if err != nil || len(txs) != 2 || txs[0].TxHash() != known || txs[1] != nil {
		t.Errorf("got %v, %v; want one transaction and nil", txs, err)
	}
}

func TestCall_ReturnsRawResult(t *testing.T) {
	node := newNode(t, func(method, params string) (string, *Error) {
		if method == "savemempool" {
			return "null", nil
		}
		return `{"asked": "` + method + `", "with": ` + params + `}`, nil
	})
	c := open(t, Options{URL: node.URL})
	for _, want := range []string{`{"asked": "uptime", "with": []}`, `{"asked": "uptime", "with": [1,true]}`, "null"} {
		method, params := "uptime", []any{1, true}
		switch {
		case want == "null":
			method = "savemempool"
		case strings.Contains(want, "[]"):
			params = nil
		}
		if got, err := c.Call(t.Context(), method, params...); err != nil || string(got) != want {
			t.Errorf("%s %v: got %s, %v; want %s", method, params, got, err, want)
		}
	}
	if _, err := c.Call(t.Context(), "echo", make(chan int)); err == nil || !strings.Contains(err.Error(), "parameters of echo") {
		t.Errorf("a channel as parameter: got %v, want an error that names the method", err)
	}
}

const zeros = "0000000000000000000000000000000000000000000000000000000000000000"

func TestCalls_OldAndOddNodes(t *testing.T) {
	results := map[string]string{
		"getblockchaininfo":   `{"chain":"main","blocks":700000,"headers":800000,"bestblockhash":"` + zeros[:63] + `7","initialblockdownload":true,"pruned":true,"pruneheight":600000}`,
		"getmempoolinfo":      `{"loaded":false,"size":3}`,
		"getblockheader":      `{"time":1231006505,"height":0}`,
		"getzmqnotifications": `[]`,
	}
	c := open(t, Options{URL: newNode(t, func(method, _ string) (string, *Error) { return results[method], nil }).URL})
	chain, err := c.Chain(t.Context())
	want := Chain{
		Network: "main", Blocks: 700000, Headers: 800000, Best: chainhash.Hash{7},
		InitialBlockDownload: true, Pruned: true, PruneHeight: 600000,
	}
	if err != nil || chain != want {
		t.Errorf("got chain %+v, %v\nwant %+v", chain, err, want)
	}
	if loaded, err := c.MempoolLoaded(t.Context()); loaded || err != nil {
		t.Errorf("got loaded %v, %v; want false", loaded, err)
	}
	header, err := c.Header(t.Context(), chainhash.Hash{1})
	if err != nil || header != (Header{Time: time.Unix(1231006505, 0)}) {
		t.Errorf("the genesis block: got header %+v, %v, want height 0", header, err)
	}
	if list, err := c.Notifications(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("got notifications %v, %v; want none", list, err)
	}
}

// TestCalls_RejectMalformedResults: each response is valid JSON-RPC with an invalid result for the method.
func TestCalls_RejectMalformedResults(t *testing.T) {
	someTx, someBlock := new(bytes.Buffer), new(bytes.Buffer)
	if err := errors.Join(wire.NewMsgTx(2).Serialize(someTx), wire.NewMsgBlock(&wire.BlockHeader{}).Serialize(someBlock)); err != nil {
		t.Fatal(err)
	}
	one := ids(1)
	calls := map[string]func(*Client) error{
		"mempool":       func(c *Client) error { _, err := c.Mempool(t.Context()); return err },
		"loaded":        func(c *Client) error { _, err := c.MempoolLoaded(t.Context()); return err },
		"times":         func(c *Client) error { _, err := c.EntryTimes(t.Context(), one); return err },
		"transactions":  func(c *Client) error { _, err := c.Transactions(t.Context(), one); return err },
		"chain":         func(c *Client) error { _, err := c.Chain(t.Context()); return err },
		"header":        func(c *Client) error { _, err := c.Header(t.Context(), one[0]); return err },
		"block":         func(c *Client) error { _, err := c.Block(t.Context(), one[0]); return err },
		"notifications": func(c *Client) error { _, err := c.Notifications(t.Context()); return err },
		"network":       func(c *Client) error { _, err := c.Network(t.Context()); return err },
	}
	more := map[string][]string{
		"mempool": {
			`{"txids":[]}`, `{"mempool_sequence":1}`, `{"txids":"` + zeros + `","mempool_sequence":1}`,
			`{"txids":["` + zeros[1:] + `"],"mempool_sequence":1}`, `{"txids":["g` + zeros[1:] + `"],"mempool_sequence":1}`,
			`{"txids":[null],"mempool_sequence":1}`, `{"txids":["a,b"],"mempool_sequence":1}`, `{"txids":null,"mempool_sequence":1}`,
			`{"txids":[],"mempool_sequence":-1}`,
		},
		"transactions": {`""`, `"0"`, `"zz"`, `"` + hex.EncodeToString(someTx.Bytes()) + `"`},
		"block":        {`""`, `"00"`, `"` + hex.EncodeToString(someBlock.Bytes()) + `"`},
	}
	for _, raw := range testblock.Hostile() {
		more["transactions"] = append(more["transactions"], `"`+hex.EncodeToString(raw)+`"`)
		more["block"] = append(more["block"], `"`+zeros+zeros+zeros[:32]+"01"+hex.EncodeToString(raw)+`"`)
	}
	for name, call := range calls {
		for _, result := range append([]string{"null", "{}", "17", `[1]`}, more[name]...) {
			t.Run(name+" "+fmt.Sprintf("%.20s", result), func(t *testing.T) {
				node := newNode(t, func(string, string) (string, *Error) { return result, nil })
				if err := call(open(t, Options{URL: node.URL})); !errors.Is(err, ErrResponse) {
					t.Errorf("got %v\nwant ErrResponse", err)
				}
				if sizes := node.requests(); !reflect.DeepEqual(sizes, []int{1}) {
					t.Errorf("got %d tries, want one", len(sizes))
				}
			})
		}
	}
}
