package bitcoind

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"testing"

	"github.com/btcsuite/btcd/chaincfg/chainhash"
	"github.com/btcsuite/btcd/wire"
)

// aBlock returns a block without transactions, and its serialisation.
func aBlock(t *testing.T) (*wire.MsgBlock, []byte) {
	t.Helper()
	b := wire.NewMsgBlock(&wire.BlockHeader{Version: 4, Nonce: 7})
	var raw bytes.Buffer
	if err := b.Serialize(&raw); err != nil {
		t.Fatal(err)
	}
	return b, raw.Bytes()
}

// TestFastBlock_FallsBackToRPC: REST is tried for each block, unless the node does not serve it.
func TestFastBlock_FallsBackToRPC(t *testing.T) {
	block, raw := aBlock(t)
	other := bytes.Clone(raw)
	other[0]++
	hash := block.BlockHash()
	for name, c := range map[string]struct {
		status     int
		body       []byte
		rest, rpcs int // requests for two blocks
	}{
		"REST":                  {http.StatusOK, raw, 2, 0},
		"REST is off":           {http.StatusNotFound, nil, 1, 2},
		"the block is unknown":  {http.StatusNotFound, []byte(hash.String() + " not found\r\n"), 2, 2},
		"the node is busy":      {http.StatusServiceUnavailable, []byte("Work queue depth exceeded"), 2, 2},
		"another block":         {http.StatusOK, other, 2, 2},
		"a damaged block":       {http.StatusOK, raw[:40], 2, 2},
		"more than a block has": {http.StatusOK, append(bytes.Clone(raw), make([]byte, 5_000_000)...), 2, 2},
		"another server":        {http.StatusForbidden, []byte("<html>"), 1, 2},
	} {
		t.Run(name, func(t *testing.T) {
			rests, rpcs := 0, 0
			server := serve(t, func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodPost {
					rpcs++
					call, _ := io.ReadAll(r.Body)
					fmt.Fprintf(w, `{"result":"%x","error":null,"id":%s}`+"\n", raw, idIn(call))
					return
				}
				rests++
				if _, _, ok := r.BasicAuth(); ok || r.URL.Path != "/rest/block/"+hash.String()+".bin" {
					t.Errorf("got %s with password %v, want no password", r.URL, ok)
				}
				w.WriteHeader(c.status)
				_, _ = w.Write(c.body)
			})
			client := open(t, Options{URL: server.URL})
			for range 2 {
				if got, err := client.FastBlock(t.Context(), hash); err != nil || got.BlockHash() != hash {
					t.Fatalf("got %v, %v, want the block", got, err)
				}
			}
			if rests != c.rest || rpcs != c.rpcs {
				t.Errorf("got %d requests over REST and %d over RPC, want %d and %d", rests, rpcs, c.rest, c.rpcs)
			}
		})
	}
}

// idIn returns the ID of a call.
func idIn(call []byte) string {
	_, after, _ := bytes.Cut(call, []byte(`"id":`))
	id, _, _ := bytes.Cut(after, []byte(","))
	return string(id)
}

// TestHexResult_EqualsJSON: the fast form and all others give the same.
func TestHexResult_EqualsJSON(t *testing.T) {
	_, raw := aBlock(t)
	text := hex.EncodeToString(raw)
	for name, c := range map[string]struct {
		body         string
		fast, failed bool
	}{
		"bitcoind's form":   {`{"result":"` + text + `","error":null,"id":5}` + "\n", true, false},
		"with spaces":       {`{"result": "` + text + `", "error": null, "id": 5}`, false, false},
		"another order":     {`{"id":5,"error":null,"result":"` + text + `"}`, false, false},
		"version 2":         {`{"jsonrpc":"2.0","result":"` + text + `","id":5}`, false, false},
		"another call's":    {`{"result":"` + text + `","error":null,"id":6}`, false, true},
		"digits of no hex":  {`{"result":"xy` + text + `","error":null,"id":5}`, true, true},
		"an odd digit":      {`{"result":"0` + text + `","error":null,"id":5}`, true, true},
		"a second result":   {`{"result":"00","error":null,"id":5,"result":"` + text + `","error":null,"id":5}`, true, true},
		"an error":          {`{"result":null,"error":{"code":-5,"message":"x"},"id":5}`, false, true},
		"cut off":           {`{"result":"` + text, false, true},
		"a very short one":  {`{"result":"","error":null,"id":5}`, true, false},
		"the whole missing": {``, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			slow, slowErr := decodeResponse[hexBytes](bytes.NewReader([]byte(c.body)), 5)
			got, fast, err := hexResult([]byte(c.body), 5)
			if fast != c.fast {
				t.Fatalf("got fast %v, want %v", fast, c.fast)
			}
			if !fast {
				got, err = slow, slowErr
			}
			if (err != nil) != c.failed {
				t.Errorf("got %v, want an error: %v", err, c.failed)
			}
			if err == nil && !bytes.Equal(got, slow) {
				t.Errorf("got %x, want %x", got, slow)
			}
		})
	}
}

func TestHashes_AndHeaders(t *testing.T) {
	node := newNode(t, func(method, params string) (string, *Error) {
		var height int
		switch method {
		case "getblockhash":
			if _, err := fmt.Sscanf(params, "[%d]", &height); err != nil || height > 12 {
				return "", &Error{Code: -8, Message: "Block height out of range"}
			}
			return fmt.Sprintf(`"%064x"`, height), nil
		case "getblockheader":
			if _, err := fmt.Sscanf(params, `["%x"`, &height); err != nil {
				return "", &Error{Code: codeNotFound, Message: "Block not found"}
			}
			return fmt.Sprintf(`{"time":%d,"height":%d}`, 1000+height, height), nil
		}
		return "", &Error{Code: codeMethod, Message: "Method not found"}
	})
	c := open(t, Options{URL: node.URL})
	hashes, err := c.Hashes(t.Context(), 10, 12)
	if err != nil || len(hashes) != 3 || hashes[2] != (chainhash.Hash{12}) {
		t.Fatalf("got %v, %v, want three hashes", hashes, err)
	}
	headers, err := c.Headers(t.Context(), hashes)
	if err != nil || len(headers) != 3 || headers[1].Height != 11 || headers[1].Time.Unix() != 1011 {
		t.Errorf("got %+v, %v, want three headers", headers, err)
	}
	if _, err := c.Hashes(t.Context(), 12, 13); !AboutOne(err) {
		t.Errorf("above the tip: got %v, want an error about the block", err)
	}
}
