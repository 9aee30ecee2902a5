package replay_test

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/btcsuite/btcd/wire"

	"sightglass/ingester/replay"
	"sightglass/ingester/replay/simnode"
	"sightglass/ingester/transcript"
)

// post sends a body and returns the response.
func post(t testing.TB, n *replay.Node, body string) (status int, answer string) {
	t.Helper()
	resp, err := http.Post(n.RPCURL(), "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, strings.TrimSpace(string(raw))
}

// call calls a method that must succeed.
func call(t testing.TB, n *replay.Node, method string, params ...any) any {
	t.Helper()
	result, failure := try(t, n, method, params...)
	if failure != nil {
		t.Fatalf("%s %v: got %v, want a result", method, params, failure)
	}
	return result
}

// try calls a method.
func try(t testing.TB, n *replay.Node, method string, params ...any) (any, *replay.RPCError) {
	t.Helper()
	if params == nil {
		params = []any{}
	}
	call, err := json.Marshal(map[string]any{"id": 7, "method": method, "params": params})
	if err != nil {
		t.Fatal(err)
	}
	status, answer := post(t, n, string(call))
	var reply struct {
		Result any
		Error  *replay.RPCError
		ID     int
	}
	if err := json.Unmarshal([]byte(answer), &reply); err != nil || reply.ID != 7 {
		t.Fatalf("%s: got %s, %v, want a response", method, answer, err)
	}
	if (status == http.StatusOK) != (reply.Error == nil) {
		t.Errorf("%s: got status %d and error %v, want them to agree", method, status, reply.Error)
	}
	return reply.Result, reply.Error
}

func decoded(t *testing.T, raw json.RawMessage) any {
	t.Helper()
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// TestRPC_EqualsRealNode repeats each recorded call at its moment.
func TestRPC_EqualsRealNode(t *testing.T) {
	n := newNode(t, realLife(t))
	asked := make(map[string]int)
	stepAll(t, n, func(l transcript.Line) {
		var params []any
		if l.Method == "" || l.Method == replay.Restart || json.Unmarshal(l.Params, &params) != nil {
			return
		}
		want := decoded(t, l.Result)
		asked[l.Method]++
		switch l.Method {
		case "getblock", "getblockchaininfo":
			compareKnown(t, l.Method, call(t, n, l.Method, params...), want)
		case "getrawtransaction", "getnetworkinfo":
			if got := call(t, n, l.Method, params...); !reflect.DeepEqual(got, want) {
				t.Errorf("%s: got %v, want %v", l.Method, got, want)
			}
		case "getrawmempool":
			compareMempool(t, call(t, n, l.Method, params...), want)
		case "getzmqnotifications":
			if got := call(t, n, l.Method); fmt.Sprint(field(got, "type")) != fmt.Sprint(field(want, "type")) ||
				field(got, "address")[0] != n.Endpoint() {
				t.Errorf("got %v, want %v", got, want)
			}
		}
	})
	if asked["getrawmempool"] != 6 || asked["getblock"] != 2 {
		t.Errorf("got only the calls %v, want all", asked)
	}
}

// field returns one field of each object in a list.
func field(list any, name string) (values []any) {
	for _, o := range list.([]any) {
		values = append(values, o.(map[string]any)[name])
	}
	return values
}

// compareKnown compares what a replay can know. Its times are those of the playback.
func compareKnown(t *testing.T, method string, got, want any) {
	t.Helper()
	object, ok := got.(map[string]any)
	if !ok {
		if got != want {
			t.Errorf("%s: got %v, want %v", method, got, want)
		}
		return
	}
	known := want.(map[string]any)
	for key, value := range object {
		if key == "time" || key == "mediantime" {
			continue
		}
		if !reflect.DeepEqual(value, known[key]) {
			t.Errorf("%s: got %s %v, want %v", method, key, value, known[key])
		}
	}
	if at := time.Unix(int64(object["time"].(float64)), 0); time.Since(at).Abs() > time.Hour {
		t.Errorf("%s: got the time %v, want now", method, at)
	}
}

func compareMempool(t *testing.T, got, want any) {
	t.Helper()
	keys := func(v any) []string {
		var ids []string
		o := v.(map[string]any)
		if list, ok := o["txids"]; ok {
			for _, id := range list.([]any) {
				ids = append(ids, id.(string))
			}
			ids = append(ids, fmt.Sprint(o["mempool_sequence"]))
		} else {
			for id := range o {
				ids = append(ids, id)
			}
		}
		slices.Sort(ids)
		return ids
	}
	if g, w := keys(got), keys(want); !slices.Equal(g, w) {
		t.Errorf("got the mempool %v, want %v", g, w)
	}
}

// TestRPC_SimulatedChainIsConsistent walks back from the tip over RPC after each step of the chain.
func TestRPC_SimulatedChainIsConsistent(t *testing.T) {
	n := newNode(t, simnode.Lines(4, 300))
	stepAll(t, n, func(l transcript.Line) {
		if l.Topic != transcript.TopicHashBlock {
			return
		}
		hash, height := call(t, n, "getbestblockhash").(string), call(t, n, "getblockcount").(float64)
		if want := fmt.Sprintf("%x", l.Body); hash != want {
			t.Fatalf("got the tip %s, want %s", hash, want)
		}
		for confirmations := 1.0; confirmations < 5 && height >= 100; confirmations++ {
			header := call(t, n, "getblockheader", hash).(map[string]any)
			if header["height"] != height || header["confirmations"] != confirmations || call(t, n, "getblockhash", height) != hash {
				t.Fatalf("at height %v, %v deep: got header %v, want the chain's", height, confirmations, header)
			}
			whole := call(t, n, "getblock", hash, 0).(string)
			if raw := call(t, n, "getblockheader", hash, false).(string); !strings.HasPrefix(whole, raw) {
				t.Fatalf("got block %s, want it to start with the header %s", whole, raw)
			}
			previous, _ := header["previousblockhash"].(string)
			hash, height = previous, height-1
		}
	})
}

func TestRPC_ReturnsOnlyUnconfirmedTransactions(t *testing.T) {
	n := newNode(t, realLife(t))
	const id = "b986ff04326e549f84a22a80d9595500b2f1d575f078c1528ef4871221f9ad8f"
	stepAll(t, n, nil)
	entry := call(t, n, "getmempoolentry", id).(map[string]any)
	if at := time.Unix(int64(entry["time"].(float64)), 0); time.Since(at).Abs() > time.Minute {
		t.Errorf("got the time %v, want a few seconds ago", at)
	}
	if info := call(t, n, "getmempoolinfo").(map[string]any); info["loaded"] != true || info["size"] != 2.0 {
		t.Errorf("got %v, want it loaded with 2 transactions", info)
	}
	const mined = "3afa1e9eac50ec91c88930ee182d9ba00e28b231bbf1b0e0d4f431f1c80fe45b"
	for _, method := range []string{"getmempoolentry", "getrawtransaction"} {
		if _, failure := try(t, n, method, mined); failure == nil || failure.Code != -5 {
			t.Errorf("%s of a mined transaction: got %v, want code -5", method, failure)
		}
	}
}

// TestRPC_TimesAreOfPlayback plays ten times faster, long ago. A block is as old when it comes as it was in the
// recording.
func TestRPC_TimesAreOfPlayback(t *testing.T) {
	lines := []transcript.Line{
		{T: 100, Method: "x"},
		{T: 150, Topic: "sequence", Body: transcript.Sequence{Letter: transcript.Added, Number: 1}.Body(), Counter: 0},
	}
	var blocks []string
	for i, height := range []int{7, 8} {
		header := wire.BlockHeader{Timestamp: time.Unix(int64(5000+400*i), 0)} // but they connect 300 s apart
		hash := header.BlockHash()
		blocks = append(blocks, hash.String())
		answer := fmt.Sprintf(`{"hash":%q,"height":%d,"time":%d,"bits":"00000000"}`, hash, height, header.Timestamp.Unix())
		at := 200 + 300*float64(i)
		lines = append(lines,
			transcript.Line{T: at, Method: "getblockheader", Result: json.RawMessage(answer)},
			transcript.Line{T: at, Topic: "sequence", Body: transcript.Sequence{Hash: hash, Letter: transcript.Connected}.Body(), Counter: uint32(1 + i)})
	}
	start := time.Unix(1_000_000, 0)
	n, err := replay.NewNode(replay.NodeOptions{
		Endpoint: "tcp://127.0.0.1:*", RPCListen: "127.0.0.1:0", Speed: 10, Start: start, Log: slog.New(slog.DiscardHandler),
	}, lines)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Close)
	stepAll(t, n, nil)
	for i, want := range []int64{
		10 - 100, // published after 100 s of the recording, and 100 s older than the last
		40,       // of the last block only its time in the recording is known, 400 s
	} {
		header := call(t, n, "getblockheader", blocks[i]).(map[string]any)
		if got := int64(header["time"].(float64)) - start.Unix(); got != want {
			t.Errorf("block %d: got a time %d s after the start, want %d", i, got, want)
		}
	}
	entry := call(t, n, "getmempoolentry", strings.Repeat("0", 64)).(map[string]any)
	if got := int64(entry["time"].(float64)) - start.Unix(); got != 5 {
		t.Errorf("got the transaction %d s after the start, want 5", got)
	}
}

func TestRPC_Errors(t *testing.T) {
	n := newNode(t, simnode.Lines(5, 10))
	hash := strings.Repeat("0", 64)
	for name, c := range map[string]struct {
		method string
		params []any
		code   int
	}{
		"unknown method":        {"stop", nil, -32601},
		"unknown block":         {"getblock", []any{hash}, -5},
		"a height beyond":       {"getblockhash", []any{1e6}, -8},
		"no hash":               {"getblock", nil, -3},
		"a short hash":          {"getblock", []any{"00"}, -8},
		"no number":             {"getblockhash", []any{"x"}, -3},
		"verbose with a number": {"getrawmempool", []any{true, true}, -8},
		"verbose transaction":   {"getrawtransaction", []any{hash, true}, -8},
	} {
		t.Run(name, func(t *testing.T) {
			if _, failure := try(t, n, c.method, c.params...); failure == nil || failure.Code != c.code {
				t.Errorf("got %v, want code %d", failure, c.code)
			}
		})
	}
}

func TestRPC_RequestForms(t *testing.T) {
	n := newNode(t, []transcript.Line{{Topic: "x"}})
	const good, bad = `{"id":1,"method":"getblockcount"}`, `{"id":2,"method":"stop"}`
	const two, twoBad = `{"jsonrpc":"2.0","id":3,"method":"getblockcount","params":[]}`, `{"jsonrpc":"2.0","id":4,"method":"stop"}`
	for body, want := range map[string]string{
		good:                         `200 {"result":0,"error":null,"id":1}`,
		bad:                          `404 {"result":null,"error":{"code":-32601,"message":"Method not found"},"id":2}`,
		two:                          `200 {"jsonrpc":"2.0","result":0,"id":3}`,
		twoBad:                       `200 {"jsonrpc":"2.0","error":{"code":-32601,"message":"Method not found"},"id":4}`,
		"[" + good + "," + bad + "]": `200 [{"result":0,"error":null,"id":1},{"result":null,"error":{"code":-32601,"message":"Method not found"},"id":2}]`,
		"[]":                         `200 []`,
		"":                           `500 {"result":null,"error":{"code":-32700,"message":"Parse error"},"id":null}`,
		`{"id":5,"method":"getblockcount","params":{}}`: `400 {"result":null,"error":{"code":-32600,"message":"Params must be an array here"},"id":5}`,
	} {
		if status, answer := post(t, n, body); fmt.Sprint(status, " ", answer) != want {
			t.Errorf("%s\ngot  %d %s\nwant %s", body, status, answer, want)
		}
	}
}

func TestNode_Fail(t *testing.T) {
	n := newNode(t, []transcript.Line{{Topic: "x"}})
	n.Fail(func(method string) *replay.RPCError {
		if method != "getblockcount" {
			return nil
		}
		return &replay.RPCError{Code: -28, Message: "Loading block index…"}
	})
	if _, failure := try(t, n, "getblockcount"); failure == nil || failure.Code != -28 {
		t.Errorf("got %v, want code -28", failure)
	}
	call(t, n, "getrawmempool")
	n.Fail(nil)
	call(t, n, "getblockcount")
}
