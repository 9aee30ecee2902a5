package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"sightglass/edge"
	"sightglass/edge/spec"
	"sightglass/infra/test/internal/programs"
	"sightglass/infra/test/internal/redistest"
	"sightglass/infra/test/internal/wstest"
)

// A document is an OpenAPI or AsyncAPI document, with its schemas to validate values.
type document struct {
	root    any
	schemas *jsonschema.Compiler
}

// readDocument checks that every reference in the document resolves.
func readDocument(t *testing.T, text []byte, draft *jsonschema.Draft, change func(root any)) *document {
	t.Helper()
	root, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	change(root)
	d := &document{root: root, schemas: jsonschema.NewCompiler()}
	d.schemas.DefaultDraft(draft)
	if err := d.schemas.AddResource("document.json", root); err != nil {
		t.Fatal(err)
	}
	walk(root, func(node map[string]any) {
		if ref, ok := node["$ref"].(string); ok {
			d.at(t, ref)
		}
	})
	return d
}

// walk visits every object in a JSON value.
func walk(value any, visit func(map[string]any)) {
	switch value := value.(type) {
	case map[string]any:
		visit(value)
		for _, inner := range value {
			walk(inner, visit)
		}
	case []any:
		for _, inner := range value {
			walk(inner, visit)
		}
	}
}

// at resolves a reference within the document and returns the node and its pointer. The target may be a reference
// itself.
func (d *document) at(t *testing.T, ref string) (node map[string]any, pointer string) {
	t.Helper()
	found := d.root
	for token := range strings.SplitSeq(strings.TrimPrefix(ref, "#/"), "/") {
		token = strings.NewReplacer("~1", "/", "~0", "~").Replace(token)
		within, _ := found.(map[string]any)
		if found = within[token]; found == nil {
			t.Fatalf("got an unresolved reference %s: no %s", ref, token)
		}
	}
	node, _ = found.(map[string]any)
	if next, ok := node["$ref"].(string); ok {
		return d.at(t, next)
	}
	return node, ref
}

// valid validates a value against the schema at a pointer.
func (d *document) valid(t *testing.T, pointer string, value any) error {
	t.Helper()
	schema, err := d.schemas.Compile("document.json" + pointer)
	if err != nil {
		t.Fatal(err)
	}
	return schema.Validate(value)
}

func parse(t *testing.T, data []byte) any {
	t.Helper()
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		t.Fatalf("%v: %q", err, data)
	}
	return value
}

// strictly makes unknown keys and unknown values an error. The document allows them, for later additions.
func strictly(root any) {
	walk(root, func(node map[string]any) {
		if open, ok := node["anyOf"].([]any); ok {
			if known, ok := open[0].(map[string]any)["enum"]; ok {
				delete(node, "anyOf")
				node["enum"] = known
			}
		}
		if _, ok := node["properties"].(map[string]any); ok {
			node["unevaluatedProperties"] = false
		}
	})
}

func unchangedDocument(any) {}

func TestOpenAPI_MatchesResponses(t *testing.T) {
	doc := readDocument(t, spec.OpenAPI, jsonschema.Draft2020, strictly)
	server := redistest.Start(t)
	live, empty, cut := start(t, 1).edges[0], edgeWith(t, server, unchanged), edgeWith(t, deadServer(t), unchanged)
	programs.Until(t, "a point of the history", func() bool {
		return !strings.Contains(string(ask(t, "GET", live, "/api/v1/history", nil).body), "[]")
	})
	now := strconv.FormatInt(time.Now().Unix(), 10)
	keyless := handshake.Clone()
	keyless.Del("Sec-Websocket-Key")
	seen := make(map[string]bool) // method path status
	for _, c := range []struct {
		e            *edge.Edge
		path, asked  string
		header       http.Header
		method, want string
	}{
		{e: live, path: "/", want: "200"},
		{e: live, path: "/embed", want: "200"},
		{e: live, path: "/clock", asked: "/clock?theme=dark", want: "200"},
		{e: live, path: "/static/{file}", asked: "/static/app.js", want: "200"},
		{e: live, path: "/static/{file}", asked: "/static/style.css", want: "200"},
		{e: live, path: "/static/{file}", asked: "/static/icon.svg", want: "200"},
		{e: live, path: "/static/{file}", asked: "/static/none.js", want: "404"},
		{e: live, path: "/og.png", want: "200"},
		{e: live, path: "/og.png", header: whatever, want: "304"},
		{e: live, path: "/manifest.webmanifest", want: "200"},
		{e: live, path: "/manifest.webmanifest", header: whatever, want: "304"},
		{e: live, path: "/sw.js", want: "200"},
		{e: live, path: "/sw.js", header: whatever, want: "304"},
		{e: live, path: "/icon-192.png", want: "200"},
		{e: live, path: "/icon-192.png", header: whatever, want: "304"},
		{e: live, path: "/icon-512.png", want: "200"},
		{e: live, path: "/icon-512.png", header: whatever, want: "304"},
		{e: live, path: "/icon-maskable-512.png", want: "200"},
		{e: live, path: "/icon-maskable-512.png", header: whatever, want: "304"},
		{e: live, path: "/apple-touch-icon.png", want: "200"},
		{e: live, path: "/apple-touch-icon.png", header: whatever, want: "304"},
		{e: empty, path: "/og.png", want: "200"},
		{e: live, path: "/ws/mempool", header: handshake, want: "101"},
		{e: live, path: "/ws/mempool", header: keyless, want: "400"},
		{e: live, path: "/ws/mempool", want: "426"},
		{e: live, path: "/ws/mempool", header: withOrigin(handshake, "https://elsewhere.example"), want: "403"},
		{e: atHandshakeLimit(t, server), path: "/ws/mempool", header: handshake, want: "429"},
		{e: draining(t, server), path: "/ws/mempool", header: handshake, want: "503"},
		{e: live, path: "/api/v1/stream", want: "200"},
		{e: live, path: "/api/v1/stream", asked: "/api/v1/stream?form=delta", want: "200"},
		{e: live, path: "/api/v1/stream", asked: "/api/v1/stream?form=short", want: "400"},
		{e: live, path: "/api/v1/stream", header: withOrigin(http.Header{}, "https://elsewhere.example"), want: "403"},
		{e: atHandshakeLimit(t, server), path: "/api/v1/stream", want: "429"},
		{e: draining(t, server), path: "/api/v1/stream", want: "503"},
		{e: live, path: "/health", want: "200"},
		{e: empty, path: "/health", want: "200"},
		{e: live, path: "/livez", want: "200"},
		{e: live, path: "/readyz", want: "200"},
		{e: empty, path: "/readyz", want: "503"},
		{e: live, path: "/api/v1/snapshot", want: "200"},
		{e: empty, path: "/api/v1/snapshot", want: "503"},
		{e: live, path: "/api/v1/history", want: "200"},
		{e: live, path: "/api/v1/history", asked: "/api/v1/history?from=0&to=4000000000&step=3600", want: "200"},
		{e: live, path: "/api/v1/history", asked: "/api/v1/history?format=csv", want: "200"},
		{e: empty, path: "/api/v1/history", want: "200"},
		{e: live, path: "/api/v1/history", asked: "/api/v1/history?step=1", want: "400"},
		{e: cut, path: "/api/v1/history", want: "503"},
		{e: live, path: "/price", want: "200"},
		{e: live, path: "/price", header: whatever, want: "304"},
		{e: empty, path: "/price", want: "503"},
		{e: live, method: "OPTIONS", path: "/price", want: "204"},
		{e: live, path: "/api/v1/price", asked: "/api/v1/price?at=" + now, want: "200"},
		{e: live, path: "/api/v1/price", asked: "/api/v1/price?at=" + now, header: whatever, want: "304"},
		{e: live, path: "/api/v1/price", want: "400"},
		{e: live, path: "/api/v1/price", asked: "/api/v1/price?at=1", want: "404"},
		{e: cut, path: "/api/v1/price", asked: "/api/v1/price?at=1", want: "503"},
		{e: live, method: "OPTIONS", path: "/api/v1/price", want: "204"},
		{e: live, path: "/api/v1/prices", want: "200"},
		{e: live, path: "/api/v1/prices", header: whatever, want: "304"},
		{e: empty, path: "/api/v1/prices", want: "503"},
		{e: live, method: "OPTIONS", path: "/api/v1/prices", want: "204"},
		{e: live, path: "/api/v1/historical-price", asked: "/api/v1/historical-price?currency=USD&timestamp=" + now, want: "200"},
		{e: live, path: "/api/v1/historical-price", want: "200"},
		{e: live, path: "/api/v1/historical-price", asked: "/api/v1/historical-price?currency=EUR", want: "200"},
		{e: live, path: "/api/v1/historical-price", header: whatever, want: "304"},
		{e: live, path: "/api/v1/historical-price", asked: "/api/v1/historical-price?timestamp=now", want: "400"},
		{e: cut, path: "/api/v1/historical-price", want: "503"},
		{e: live, method: "OPTIONS", path: "/api/v1/historical-price", want: "204"},
		{e: live, path: "/api/v1/points", want: "200"},
		{e: live, path: "/api/v1/points", asked: "/api/v1/points?since=1", want: "200"},
		{e: empty, path: "/api/v1/points", want: "200"},
		{e: live, path: "/api/v1/points", asked: "/api/v1/points?since=1.5", want: "400"},
		{e: cut, path: "/api/v1/points", want: "503"},
		{e: live, path: "/api/v1/evidence", want: "200"},
		{e: empty, path: "/api/v1/evidence", want: "503"},
		{e: cut, path: "/api/v1/evidence", want: "503"},
		{e: live, path: "/api/v1/about", want: "200"},
		{e: live, path: "/api/openapi.json", want: "200"},
		{e: live, path: "/api/asyncapi.json", want: "200"},
		{e: live, path: "/", header: whatever, want: "304"},
		{e: live, path: "/embed", header: whatever, want: "304"},
		{e: live, path: "/clock", header: whatever, want: "304"},
		{e: live, path: "/static/{file}", asked: "/static/app.js", header: whatever, want: "304"},
		{e: live, path: "/api/v1/snapshot", header: whatever, want: "304"},
		{e: live, path: "/api/v1/history", header: whatever, want: "304"},
		{e: live, path: "/api/v1/points", header: whatever, want: "304"},
		{e: live, path: "/api/v1/evidence", header: whatever, want: "304"},
		{e: live, path: "/api/v1/about", header: whatever, want: "304"},
		{e: live, path: "/api/openapi.json", header: whatever, want: "304"},
		{e: live, path: "/api/asyncapi.json", header: whatever, want: "304"},
		{e: live, method: "OPTIONS", path: "/api/v1/snapshot", want: "204"},
		{e: live, method: "OPTIONS", path: "/api/v1/history", want: "204"},
		{e: live, method: "OPTIONS", path: "/api/v1/points", want: "204"},
		{e: live, method: "OPTIONS", path: "/api/v1/evidence", want: "204"},
		{e: live, method: "OPTIONS", path: "/api/v1/about", want: "204"},
		{e: live, method: "OPTIONS", path: "/api/v1/stream", want: "204"},
		{e: live, method: "OPTIONS", path: "/api/openapi.json", want: "204"},
		{e: live, method: "OPTIONS", path: "/api/asyncapi.json", want: "204"},
	} {
		if c.method == "" {
			c.method = "GET"
		}
		if c.asked == "" {
			c.asked = c.path
		}
		t.Run(c.method+" "+c.asked+" "+c.want, func(t *testing.T) {
			got := ask(t, c.method, c.e, c.asked, c.header)
			if status := fmt.Sprint(got.StatusCode); status != c.want {
				t.Fatalf("got status %s, want %s: %.200s", status, c.want, got.body)
			}
			where := "#/paths/" + strings.ReplaceAll(c.path, "/", "~1") + "/" + strings.ToLower(c.method) + "/responses/" + c.want
			seen[where] = true
			doc.checkResponse(t, where, got)
			if c.method == "GET" && c.want != "101" {
				sameHead(t, got, ask(t, "HEAD", c.e, c.asked, c.header))
			}
		})
	}
	for _, where := range doc.responses() {
		if !seen[where] {
			t.Errorf("got no response for %s, want one", where)
		}
	}
}

var (
	whatever  = http.Header{"If-None-Match": {"*"}}
	handshake = http.Header{
		"Connection": {"Upgrade"}, "Upgrade": {"websocket"},
		"Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {"AAAAAAAAAAAAAAAAAAAAAA=="},
	}
)

func withOrigin(header http.Header, origin string) http.Header {
	header = header.Clone()
	header.Set("Origin", origin)
	return header
}

// atHandshakeLimit is an edge whose handshake limit the test's address has used up.
func atHandshakeLimit(t *testing.T, server *redistest.Server) *edge.Edge {
	t.Helper()
	e := edgeWith(t, server, func(o *edge.Options) { o.HandshakesPerMinute = 1 })
	if got := ask(t, "GET", e, "/ws/mempool", handshake); got.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("the first handshake: got status %d, want 101", got.StatusCode)
	}
	return e
}

// deadServer is a stopped Redis.
func deadServer(t *testing.T) *redistest.Server {
	server := redistest.Start(t)
	server.Kill()
	return server
}

// draining is an edge that drains and waits for a client that stays until the test's end.
func draining(t *testing.T, server *redistest.Server) *edge.Edge {
	t.Helper()
	o := edge.Defaults()
	o.Listen, o.Redis, o.Log, o.Grace = "127.0.0.1:0", server.URL(), quiet(t), time.Minute
	e, err := edge.New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- e.Run(ctx) }()
	client := dialRaw(t, e, source(0))
	t.Cleanup(func() {
		client.Close()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	programs.Until(t, "the client to join", func() bool { return e.Clients() == 1 })
	stop()
	programs.Until(t, "the edge to drain", func() bool {
		return strings.Contains(string(ask(t, "GET", e, "/readyz", nil).body), "draining")
	})
	return e
}

// checkResponse validates a response's headers, content type and body against the response at a pointer.
func (d *document) checkResponse(t *testing.T, where string, got response) {
	t.Helper()
	node, where := d.at(t, where)
	headers, _ := node["headers"].(map[string]any)
	for name := range headers {
		header, at := d.at(t, where+"/headers/"+name)
		value, there := got.Header[http.CanonicalHeaderKey(name)]
		if !there && header["required"] == true {
			t.Errorf("got no header %s", name)
		}
		if there {
			if err := d.valid(t, at+"/schema", strings.Join(value, ", ")); err != nil {
				t.Errorf("header %s: got %v, want it valid", name, err)
			}
		}
	}
	contents, _ := node["content"].(map[string]any)
	if len(contents) == 0 && len(got.body) > 0 {
		t.Errorf("got body %.200q, want none", got.body)
	}
	kinds := slices.Collect(maps.Keys(contents))
	if real := strings.Split(got.Header.Get("Content-Type"), ";")[0]; len(kinds) > 1 && slices.Contains(kinds, real) {
		kinds = []string{real} // a response of several types has one of them at a time
	}
	for _, kind := range kinds {
		d.checkBody(t, where+"/content/"+strings.ReplaceAll(kind, "/", "~1"), kind, contents[kind].(map[string]any), got)
	}
}

func (d *document) checkBody(t *testing.T, where, kind string, content map[string]any, got response) {
	t.Helper()
	if real := got.Header.Get("Content-Type"); kind != "*/*" && kind != strings.Split(real, ";")[0] {
		t.Errorf("got Content-Type %s, want %s", real, kind)
	}
	if content["schema"] == nil {
		return
	}
	var value any = string(got.body)
	if kind == "application/json" {
		value = parse(t, got.body)
	}
	if err := d.valid(t, where+"/schema", value); err != nil {
		t.Errorf("got %v, want a valid body:\n%.500s", err, got.body)
	}
}

// sameHead checks that the response to HEAD equals that to GET, without a body.
func sameHead(t *testing.T, get, head response) {
	t.Helper()
	if head.StatusCode != get.StatusCode || len(head.body) > 0 {
		t.Errorf("HEAD: got %s with %d bytes, want GET's status and no body", head.Status, len(head.body))
	}
	for _, name := range []string{"Content-Type", "Cache-Control", "Retry-After", "Vary", "Content-Security-Policy"} {
		if h, g := head.Header.Get(name), get.Header.Get(name); h != g {
			t.Errorf("HEAD: got %s %q, want GET's %q", name, h, g)
		}
	}
	if head.Header.Get("ETag") == "" && get.Header.Get("ETag") != "" {
		t.Error("HEAD: got no ETag, want GET's")
	}
}

// responses returns the pointers to all responses of an OpenAPI document.
func (d *document) responses() (all []string) {
	for path, item := range d.root.(map[string]any)["paths"].(map[string]any) {
		for method, operation := range item.(map[string]any) {
			for status := range operation.(map[string]any)["responses"].(map[string]any) {
				all = append(all, "#/paths/"+strings.ReplaceAll(path, "/", "~1")+"/"+method+"/responses/"+status)
			}
		}
	}
	slices.Sort(all)
	return all
}

// TestOpenAPI_SchemasMatchAsyncAPI: schemas in both documents are equal.
func TestOpenAPI_SchemasMatchAsyncAPI(t *testing.T) {
	open := readDocument(t, spec.OpenAPI, jsonschema.Draft2020, unchangedDocument)
	async := readDocument(t, spec.AsyncAPI, jsonschema.Draft7, unchangedDocument)
	for _, name := range []string{"Snapshot", "Point", "Stats", "Status", "USD", "Confidence", "Time"} {
		one, _ := open.at(t, "#/components/schemas/"+name)
		other, _ := async.at(t, "#/components/schemas/"+name)
		if !reflect.DeepEqual(one, other) {
			t.Errorf("%s: got different schemas in openapi.json and asyncapi.json, want equal ones", name)
		}
	}
}

func TestOpenAPI_DescribesGoldenFiles(t *testing.T) {
	doc := readDocument(t, spec.OpenAPI, jsonschema.Draft2020, strictly)
	for path, schema := range map[string]string{
		"contract/testdata/snapshot.json": "Snapshot", "contract/testdata/snapshot-peers.json": "Snapshot",
		"contract/testdata/evidence.json": "Evidence", "history/testdata/entry.json": "HistoryPoint",
	} {
		if err := doc.valid(t, "#/components/schemas/"+schema, parse(t, golden(t, path))); err != nil {
			t.Error(err)
		}
	}
	points := fmt.Appendf(nil, `{"points":%s}`, golden(t, "contract/testdata/points.json")) // as edges serve them
	if err := doc.valid(t, "#/components/schemas/Points", parse(t, points)); err != nil {
		t.Error(err)
	}
}

// golden reads a file of the contract, by its path in shared.
func golden(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "..", "..", "shared", filepath.FromSlash(path)))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestAsyncAPI_ExamplesMatchSchemas: each example is valid by its message's schema, and a damaged one is not.
func TestAsyncAPI_ExamplesMatchSchemas(t *testing.T) {
	doc := readDocument(t, spec.AsyncAPI, jsonschema.Draft7, unchangedDocument)
	messages, _ := doc.at(t, "#/components/messages")
	for name, message := range messages {
		where := "#/components/messages/" + name + "/payload"
		for _, example := range message.(map[string]any)["examples"].([]any) {
			payload := example.(map[string]any)["payload"].(map[string]any)
			if err := doc.valid(t, where, payload); err != nil {
				t.Errorf("%s: got %v, want a valid example", name, err)
			}
			for key := range payload {
				if name == "ping" || name == "pong" {
					key = "type"
				}
				if value := payload[key]; doc.valid(t, where, without(payload, key)) == nil {
					t.Errorf("%s: got %s as optional, want it required, as it is always %v", name, key, value)
				}
			}
		}
	}
	for name, bad := range map[string]struct{ message, old, new string }{
		"a delta called keyframe":      {"delta", `"type":"delta"`, `"type":"keyframe"`},
		"a delta with objects":         {"delta", `"add":[[`, `"add":[{},[`},
		"a delta with triples":         {"delta", `"add":[[`, `"add":[[1,2,3],[`},
		"a delta with a negative drop": {"delta", `"drop":1`, `"drop":-1`},
		"a keyframe without type":      {"keyframe", `"type":"keyframe"`, `"kind":"keyframe"`},
		"a snapshot of text":           {"snapshot", `"price":5313.57`, `"price":"5313.57"`},
		"a snapshot with a status":     {"snapshot", `"live"`, `"Very live"`},
	} {
		t.Run(name, func(t *testing.T) {
			good := messages[bad.message].(map[string]any)["examples"].([]any)[0].(map[string]any)["payload"]
			text, err := json.Marshal(good)
			if err != nil {
				t.Fatal(err)
			}
			changed := strings.Replace(string(text), bad.old, bad.new, 1)
			if changed == string(text) {
				t.Fatalf("got a case that changes nothing, as %s is not in %s", bad.old, text)
			}
			if doc.valid(t, "#/components/messages/"+bad.message+"/payload", parse(t, []byte(changed))) == nil {
				t.Errorf("got %s accepted, want it invalid", changed)
			}
		})
	}
}

func without(object map[string]any, key string) map[string]any {
	rest := make(map[string]any)
	for k, v := range object {
		if k != key {
			rest[k] = v
		}
	}
	return rest
}

// TestAsyncAPI_MatchesPlainStream validates messages on the wire, without a subprotocol.
func TestAsyncAPI_MatchesPlainStream(t *testing.T) {
	doc := readDocument(t, spec.AsyncAPI, jsonschema.Draft7, unchangedDocument)
	channel, _ := doc.at(t, "#/channels/mempool")
	if channel["address"] != "/ws/mempool" {
		t.Errorf("got address %v, want /ws/mempool", channel["address"])
	}
	for _, code := range []string{"1001", "1002", "1003", "1007", "1008", "1009", "4008", "4029", "4030"} {
		if !strings.Contains(channel["description"].(string), "- "+code+":") {
			t.Errorf("got no description of close code %s, want one", code)
		}
	}
	conn := dial(t, start(t, 1).edges[0], source(0))
	for _, ping := range []string{`{"type":"ping"}`, `{"type":"ping","timestamp":1556771671.25}`, `{"type":"ping","timestamp":["a"]}`} {
		if err := doc.valid(t, "#/components/messages/ping/payload", parse(t, []byte(ping))); err != nil {
			t.Error(err)
		}
		if err := conn.Write(t.Context(), websocket.MessageText, []byte(ping)); err != nil {
			t.Fatal(err)
		}
	}
	for snapshots, pongs := 0, 0; snapshots < 5 || pongs < 3; {
		data, err := wstest.Read(t.Context(), conn)
		if err != nil {
			t.Fatal(err)
		}
		message, kind := parse(t, data), "snapshot"
		if message.(map[string]any)["type"] == "pong" {
			kind = "pong"
			pongs++
		} else {
			snapshots++
		}
		if err := doc.valid(t, "#/components/messages/"+kind+"/payload", message); err != nil {
			t.Errorf("got %v, want a valid message:\n%.500s", err, data)
		}
	}
}

// TestAsyncAPI_MatchesDeltaStream validates messages on the wire, with the subprotocol.
func TestAsyncAPI_MatchesDeltaStream(t *testing.T) {
	doc := readDocument(t, spec.AsyncAPI, jsonschema.Draft7, unchangedDocument)
	conn := dialDelta(t, start(t, 1).edges[0])
	for kinds := make(map[string]int); kinds["keyframe"] < 1 || kinds["delta"] < 3; {
		data, err := wstest.Read(t.Context(), conn)
		if err != nil {
			t.Fatal(err)
		}
		message := parse(t, data)
		kind, _ := message.(map[string]any)["type"].(string)
		kinds[kind]++
		if err := doc.valid(t, "#/components/messages/"+kind+"/payload", message); err != nil {
			t.Errorf("got %v, want a valid message:\n%.500s", err, data)
		}
	}
}
