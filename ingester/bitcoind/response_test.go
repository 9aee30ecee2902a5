package bitcoind

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"testing"

	"github.com/btcsuite/btcd/chaincfg/chainhash"
)

func TestTxid_UnmarshalJSON(t *testing.T) {
	want := chainhash.HashH(nil)
	for _, text := range []string{want.String(), bytesUpper(want)} {
		var got txid
		if err := json.Unmarshal(fmt.Appendf(nil, "%q", text), &got); err != nil || chainhash.Hash(got) != want {
			t.Errorf("%s: got %v, %v, want the hash", text, chainhash.Hash(got), err)
		}
	}
}

func bytesUpper(h chainhash.Hash) string { return string(bytes.ToUpper([]byte(h.String()))) }

// FuzzResponse: for any input, decoding ends with a result or an error, and both ways to parse hashes agree.
func FuzzResponse(f *testing.F) {
	for _, seed := range []string{
		`{"result":["` + zeros + `"],"error":null,"id":1}`,
		`{"result":[ "` + zeros + `" , "` + zeros + `" ],"id":1}`,
		`{"result":null,"error":{"code":-28,"message":"Loading block index…"},"id":1}`,
		`{"result":null,"error":{"code":-32700,"message":"Parse error"},"id":null}`,
		`[{"result":"00","error":null,"id":2},{"result":null,"error":{"code":-5,"message":"no"},"id":1}]`,
		`[]`, `{}`, `null`, `"`, `[{"id":1},{"id":1}]`, `{"result":["a,b"],"id":1}`, "<html>", "",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		fast, err := decodeResponse[txids](bytes.NewReader(data), 1)
		slow, err2 := decodeResponse[[]txid](bytes.NewReader(data), 1)
		if err == nil && fast != nil && (err2 != nil || len(fast) != len(slow)) {
			t.Fatalf("got %d hashes, %v; want those parsed one by one, %d, %v", len(fast), err, len(slow), err2)
		}
		for i := range fast {
			if err == nil && fast[i] != chainhash.Hash(slow[i]) {
				t.Fatalf("got hash %d as %v, want %v, parsed alone", i, fast[i], chainhash.Hash(slow[i]))
			}
		}
		answers, err := decodeBatch[hexBytes](bufio.NewReader(bytes.NewReader(data)), 1, 2)
		var said *Error
		if err == nil && (len(answers) != 2 || *answers[0].ID != 1 || *answers[1].ID != 2) {
			t.Fatalf("got a batch out of order: %+v", answers)
		}
		if errors.As(err, &said) && said.classify().Error() == "" {
			t.Fatal("got an error without text")
		}
	})
}

func BenchmarkMempool(b *testing.B) {
	const n = 100_000
	body := bytes.NewBufferString(`{"result":{"txids":[`)
	for i, id := range ids(n) {
		if i > 0 {
			body.WriteByte(',')
		}
		fmt.Fprintf(body, "%q", id)
	}
	body.WriteString(`],"mempool_sequence":7},"error":null,"id":1}`)
	type result struct {
		IDs txids `json:"txids"`
	}
	b.SetBytes(int64(body.Len()))
	b.ReportAllocs()
	for b.Loop() {
		r, err := decodeResponse[result](bytes.NewReader(body.Bytes()), 1)
		if err != nil || len(r.IDs) != n {
			b.Fatalf("got %d hashes, %v", len(r.IDs), err)
		}
	}
}
