package e2e

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"sightglass/edge"
	"sightglass/infra/test/internal/programs"
	"sightglass/infra/test/internal/redistest"
	"sightglass/shared/contract"
)

// A response is an HTTP response with its unmodified body.
type response struct {
	*http.Response
	body []byte
}

// ask sends a request without adding headers, decompressing the body or following redirects.
func ask(t testing.TB, method string, e *edge.Edge, path string, header http.Header) response {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, "http://"+e.Addr().String()+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if header != nil {
		request.Header = header
	}
	answer, err := plain.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode == http.StatusSwitchingProtocols {
		return response{answer, nil} // the connection has no end
	}
	if method == "GET" && answer.Header.Get("Content-Type") == "text/event-stream" {
		return response{answer, firstEvent(t, answer.Body)} // the stream has no end
	}
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response{answer, body}
}

// firstEvent reads an event stream up to the end of the first event with data.
func firstEvent(t testing.TB, body io.Reader) (text []byte) {
	t.Helper()
	lines := bufio.NewReader(body)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			t.Fatalf("got %v after %q, want an event", err, text)
		}
		text = append(text, line...)
		if bytes.HasSuffix(text, []byte("}\n\n")) {
			return text
		}
	}
}

// plain keeps no idle connections, for which an edge would wait at its end.
var plain = &http.Transport{DisableCompression: true, DisableKeepAlives: true}

func TestAPI_HistoryQueries(t *testing.T) {
	server := redistest.Start(t)
	fill(t, server.Client(), began, 6) // a minute: prices 1 to 6
	e := edgeWith(t, server, unchanged)
	for name, c := range map[string]struct {
		query string
		want  []float64 // prices
	}{
		"all":                       {"from=0", []float64{1, 2, 3, 4, 5, 6}},
		"none in the last 24 hours": {"", nil},
		"24 hours up to to":         {"to=1556771700", []float64{1, 2, 3, 4}},
		"both ends are included":    {"from=1556771680&to=1556771700", []float64{2, 3, 4}},
		"between the entries":       {"from=1556771681&to=1556771689", nil},
		"one second":                {"from=1556771690&to=1556771690", []float64{3}},
		"before the first":          {"from=0&to=1", nil},
		"after the last":            {"from=1556771721", nil},
		"last entry per 20 s":       {"from=0&step=20", []float64{1, 3, 5, 6}}, // a step began at 1556771660
		"one step for all":          {"from=0&step=86400", []float64{6}},
		"a step of a year":          {"from=0&step=31622400", []float64{6}},
		"unknown parameter":         {"from=0&colour=red", []float64{1, 2, 3, 4, 5, 6}},
	} {
		t.Run(name, func(t *testing.T) {
			var got struct {
				Step   int
				Points [][]float64
			}
			if code := getJSON(t, e, "/api/v1/history?"+c.query, &got); code != http.StatusOK || got.Points == nil {
				t.Errorf("got status %d with points %v, want 200 and a list", code, got.Points)
			}
			var prices []float64
			for _, p := range got.Points {
				prices = append(prices, p[1])
			}
			if !slices.Equal(prices, c.want) {
				t.Errorf("got %v, want %v", prices, c.want)
			}
		})
	}
	for query, want := range map[string]string{
		"step=9": "step", "step=31622401": "step", "step=ten": "step", "step=": "step", "step=10.5": "step", "step=-10": "step",
		"from=yesterday": "from", "from=-1": "from", "from=": "from", "from=99999999999999999999": "from", "from=1e9": "from",
		"format=xml": "format", "format=": "format", "format=CSV": "format",
		"to=tomorrow": "to", "to=-1": "to", "to=1099511627777": "to", "from=20&to=10": "from",
	} {
		t.Run(query, func(t *testing.T) {
			got := ask(t, "GET", e, "/api/v1/history?"+query, nil)
			if message := expectError(t, got, http.StatusBadRequest); !strings.HasPrefix(message, want+" ") || !strings.Contains(message, "want ") {
				t.Errorf("got the message %q, want one that names %s and its allowed values", message, want)
			}
		})
	}
}

// expectError checks an API error and returns its message.
func expectError(t testing.TB, got response, status int) string {
	t.Helper()
	var failure struct {
		Error struct {
			Code    int
			Message string
		}
	}
	if err := json.Unmarshal(got.body, &failure); err != nil {
		t.Errorf("got %s with body %q, want an API error", got.Status, got.body)
	}
	if got.StatusCode != status || failure.Error.Code != status || failure.Error.Message == "" {
		t.Errorf("got %s with body %s, want status %d", got.Status, got.body, status)
	}
	return failure.Error.Message
}

// TestAPI_ConditionalAndCompressedResponses covers every cacheable path.
func TestAPI_ConditionalAndCompressedResponses(t *testing.T) {
	server := redistest.Start(t)
	client := server.Client()
	s := priced(float64(time.Now().Unix()), 5313.57)
	s.Transactions = make([]contract.Point, 100)
	if err := client.Set(t.Context(), contract.KeyLatest, s.AppendJSON(nil), 0).Err(); err != nil {
		t.Fatal(err)
	}
	fill(t, client, began, 1000)
	storePoints(t, client, 200)
	redistest.StoreEvidence(t, client, 5313.57)
	e, other := edgeWith(t, server, unchanged), edgeWith(t, server, unchanged)
	for _, one := range []*edge.Edge{e, other} { // a stale snapshot does not change
		programs.Until(t, "the snapshot", func() bool {
			return strings.Contains(string(ask(t, "GET", one, "/api/v1/snapshot", nil).body), "stale")
		})
	}
	for _, path := range []string{
		"/api/v1/snapshot", "/api/v1/history?from=0", "/api/v1/history?from=0&format=csv", "/api/v1/points", "/api/v1/evidence", "/api/v1/historical-price", "/api/openapi.json", "/api/asyncapi.json", "/", "/static/app.js",
		"/static/client.js",
	} {
		t.Run(path, func(t *testing.T) {
			whole := ask(t, "GET", e, path, nil)
			tag := whole.Header.Get("ETag")
			if whole.StatusCode != http.StatusOK || tag == "" || whole.Header.Get("Content-Encoding") != "" {
				t.Fatalf("got %s, ETag %q, headers %v; want 200 with an ETag and no encoding", whole.Status, tag, whole.Header)
			}
			if got := ask(t, "GET", other, path, nil).Header.Get("ETag"); got != tag {
				t.Errorf("got ETag %s from another edge, want %s", got, tag)
			}
			packed := ask(t, "GET", e, path, http.Header{"Accept-Encoding": {"br, gzip"}})
			if !bytes.Equal(unpack(t, packed), whole.body) {
				t.Error("got another body after decompression, want the same")
			}
			if packed.Header.Get("ETag") == tag || packed.Header.Get("Vary") != "Accept-Encoding" {
				t.Errorf("compressed: got ETag %s and Vary %q, want another ETag and Vary: Accept-Encoding", packed.Header.Get("ETag"), packed.Header.Get("Vary"))
			}
			for _, known := range []string{tag, "W/" + tag, `"x", ` + tag, "*", packed.Header.Get("ETag")} {
				again := ask(t, "GET", e, path, http.Header{"If-None-Match": {known}})
				if again.StatusCode != http.StatusNotModified || len(again.body) > 0 || again.Header.Get("ETag") != tag {
					t.Errorf("If-None-Match: %s: got %s with ETag %s, want 304 with the same ETag", known, again.Status, again.Header.Get("ETag"))
				}
			}
			if changed := ask(t, "GET", e, path, http.Header{"If-None-Match": {`"x"`}}); changed.StatusCode != http.StatusOK {
				t.Errorf("another ETag: got %s, want 200", changed.Status)
			}
			head := ask(t, "HEAD", e, path, nil)
			if head.Header.Get("ETag") != tag || head.ContentLength != int64(len(whole.body)) {
				t.Errorf("HEAD: got ETag %s and length %d, want those of GET", head.Header.Get("ETag"), head.ContentLength)
			}
		})
	}
}

func unpack(t testing.TB, packed response) []byte {
	t.Helper()
	if packed.Header.Get("Content-Encoding") != "gzip" {
		t.Fatalf("got headers %v, want Content-Encoding: gzip", packed.Header)
	}
	r, err := gzip.NewReader(bytes.NewReader(packed.body))
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

func TestAPI_CORSHeaders(t *testing.T) {
	server := redistest.Start(t)
	const listed, unlisted = "https://listed.example", "https://unlisted.example"
	for name, c := range map[string]struct {
		origins      []string
		origin, want string // Access-Control-Allow-Origin
		vary         bool
	}{
		"any origin":                      {[]string{"*"}, unlisted, "*", false},
		"any, without an origin":          {[]string{"*"}, "", "*", false},
		"none":                            {nil, listed, "", false},
		"a listed origin":                 {[]string{"https://other.example", listed}, listed, listed, true},
		"an unlisted origin":              {[]string{listed}, unlisted, "", true},
		"no origin":                       {[]string{listed}, "", "", true},
		"the null origin":                 {[]string{listed}, "null", "", true},
		"an application, listed":          {[]string{"tauri://localhost", "null"}, "tauri://localhost", "tauri://localhost", true},
		"null, listed":                    {[]string{"tauri://localhost", "null"}, "null", "null", true},
		"another application, not listed": {[]string{"tauri://localhost", "null"}, "ionic://localhost", "", true},
		"a longer name":                   {[]string{listed}, listed + ".evil.example", "", true},
	} {
		t.Run(name, func(t *testing.T) {
			e := edgeWith(t, server, func(o *edge.Options) { o.CORSOrigins = c.origins })
			header := http.Header{}
			if c.origin != "" {
				header.Set("Origin", c.origin)
			}
			for path, status := range map[string]int{
				"/api/v1/about": 200, "/api/v1/history": 200, "/api/v1/points": 200, "/api/v1/evidence": 503, "/api/v1/snapshot": 503, "/api/v1/history?step=1": 400, "/price": 503, "/api/v1/price": 400, "/api/v1/price?at=1": 404,
				"/api/v1/prices": 503, "/api/v1/historical-price": 200, "/api/v1/points?since=": 400, "/api/nothing": 404,
				"/static/client.js": 200,
			} {
				got := ask(t, "GET", e, path, header)
				if got.StatusCode != status || got.Header.Get("Access-Control-Allow-Origin") != c.want {
					t.Errorf("%s: got %s with Access-Control-Allow-Origin %q, want %q", path, got.Status, got.Header.Get("Access-Control-Allow-Origin"), c.want)
				}
				if varies := strings.Contains(strings.Join(got.Header.Values("Vary"), ", "), "Origin"); varies != c.vary {
					t.Errorf("%s: got Vary %v, want Origin in it: %v", path, got.Header.Values("Vary"), c.vary)
				}
			}
			header.Set("Access-Control-Request-Method", "GET")
			preflight := ask(t, "OPTIONS", e, "/api/v1/snapshot", header)
			methods := preflight.Header.Get("Access-Control-Allow-Methods")
			if preflight.StatusCode != http.StatusNoContent || (methods != "") != (c.want != "") || preflight.Header.Get("Allow") == "" {
				t.Errorf("preflight: got %s with headers %v, want 204 with Allow, and allowed methods for an allowed origin alone", preflight.Status, preflight.Header)
			}
			if preflight.Header.Get("Access-Control-Allow-Credentials") != "" {
				t.Error("preflight: got Access-Control-Allow-Credentials, want none")
			}
			if page := ask(t, "GET", e, "/", header); page.Header.Get("Access-Control-Allow-Origin") != "" {
				t.Error("the page: got Access-Control-Allow-Origin, want it for the API alone")
			}
		})
	}
}

// TestAPI_Methods: HEAD works on every GET route, 405 lists the allowed methods, unknown paths are 404, and every error
// is an API error.
func TestAPI_Methods(t *testing.T) {
	server := redistest.Start(t)
	if err := server.Client().Set(t.Context(), contract.KeyLatest, encode("5", 10), 0).Err(); err != nil {
		t.Fatal(err)
	}
	fill(t, server.Client(), began, 1)
	redistest.StoreEvidence(t, server.Client(), 5313.57)
	e := edgeWith(t, server, unchanged)
	programs.Until(t, "the edge to be ready", func() bool { return ask(t, "GET", e, "/readyz", nil).StatusCode == http.StatusOK })
	const api, page = "GET, HEAD, OPTIONS", "GET, HEAD"
	for path, allow := range map[string]string{
		"/api/v1/snapshot": api, "/api/v1/history": api, "/api/v1/points": api, "/api/v1/evidence": api, "/api/v1/about": api,
		"/api/v1/price?at=1556771670": api, "/api/v1/historical-price": api,
		"/api/openapi.json": api, "/api/asyncapi.json": api,
		"/": page, "/embed": page, "/clock": page, "/static/app.js": page, "/static/client.js": page, "/health": page, "/livez": page, "/readyz": page,
		"/og.png": page, "/sw.js": page, "/manifest.webmanifest": page, "/icon-192.png": page, "/apple-touch-icon.png": page,
	} {
		get, head := ask(t, "GET", e, path, nil), ask(t, "HEAD", e, path, nil)
		if head.StatusCode != http.StatusOK || len(head.body) > 0 || head.ContentLength != int64(len(get.body)) {
			t.Errorf("HEAD %s: got %s with length %d, want 200 with GET's %d", path, head.Status, head.ContentLength, len(get.body))
		}
		for _, method := range []string{"POST", "PUT", "PATCH", "DELETE", "TRACE", "BREW"} {
			got := ask(t, method, e, path, nil)
			expectError(t, got, http.StatusMethodNotAllowed)
			if got.Header.Get("Allow") != allow {
				t.Errorf("%s %s: got Allow %q, want %q", method, path, got.Header.Get("Allow"), allow)
			}
		}
	}
	for _, path := range []string{"/price", "/api/v1/prices"} { // TestOpenAPI_MatchesResponses has HEAD: it is 503 once the snapshot is stale
		got := ask(t, "POST", e, path, nil)
		expectError(t, got, http.StatusMethodNotAllowed)
		if got.Header.Get("Allow") != api {
			t.Errorf("POST %s: got Allow %q, want %q", path, got.Header.Get("Allow"), api)
		}
	}
	for _, path := range []string{"/api", "/api/", "/api/v1", "/api/v1/nothing", "/api/v2/snapshot", "/pricey", "/nothing", "/static/none.js", "/static/"} {
		for _, method := range []string{"GET", "POST", "BREW"} {
			if strings.HasPrefix(path, "/static/") && method != "GET" {
				continue // the route exists for any file, so 405 is valid too
			}
			expectError(t, ask(t, method, e, path, nil), http.StatusNotFound)
		}
	}
}

// TestAPI_RejectsMalformedRequests: the response is an API error, not the server's plain text.
func TestAPI_RejectsMalformedRequests(t *testing.T) {
	e := edgeWith(t, redistest.Start(t), unchanged)
	const host = "\r\nHost: x\r\n"
	for name, c := range map[string]struct {
		send string
		want int
	}{
		"HTTP/1.0":                 {"GET /livez HTTP/1.0\r\n\r\n", 200},
		"a Host":                   {"GET /livez HTTP/1.1\r\nhOST:\tx.example:8080 \r\n\r\n", 200},
		"a Host of IPv6":           {"GET /livez HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n", 200},
		"an empty Host":            {"GET /livez HTTP/1.1\r\nHost:\r\n\r\n", 200},
		"no Host":                  {"GET /livez HTTP/1.1\r\nX-Host: x\r\n\r\n", 400},
		"no header at all":         {"GET /livez HTTP/1.1\r\n\r\n", 400},
		"an absolute URL, no Host": {"GET http://x/livez HTTP/1.1\r\n\r\n", 400},
		"two Hosts":                {"GET /livez HTTP/1.1" + host + "X: y\r\nHost: y\r\n\r\n", 400},
		"two Hosts that agree":     {"GET /livez HTTP/1.1" + host + "host: x\r\n\r\n", 400},
		"two Hosts in HTTP/1.0":    {"GET /livez HTTP/1.0" + host + "Host: x\r\n\r\n", 400},
		"a Host with a path":       {"GET /livez HTTP/1.1\r\nHost: x/y\r\n\r\n", 400},
		"a Host with a user":       {"GET /livez HTTP/1.1\r\nHost: u@x\r\n\r\n", 400},
		"a Host of two words":      {"GET /livez HTTP/1.1\r\nHost: x y\r\n\r\n", 400},
		"a Host's port":            {"GET /livez HTTP/1.1\r\nHost: x:y\r\n\r\n", 400},
		"a folded Host":            {"GET /livez HTTP/1.1\r\nHost: x\r\n y\r\n\r\n", 400},
		"an indented Host":         {"GET /livez HTTP/1.1\r\nX: y\r\n Host: x\r\n\r\n", 400},
		"a space after Host":       {"GET /livez HTTP/1.1\r\nHost : x\r\n\r\n", 400},
		"HTTP/2.0 request line":    {"GET /livez HTTP/2.0" + host + "\r\n", 505},
		"HTTP/1.9":                 {"GET /livez HTTP/1.9" + host + "\r\n", 505},
		"an HTTP/2 preface":        {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505},
		"no version":               {"GET /livez" + host + "\r\n", 400},
		"a version of letters":     {"GET /livez HTTP/x.y" + host + "\r\n", 400},
		"another protocol":         {"GET /livez ICY/1.1" + host + "\r\n", 400},
		"nonsense":                 {"nonsense\r\n\r\n", 400},
		"an invalid method":        {"G@T /livez HTTP/1.1" + host + "\r\n", 400},
		"4 kB of one header":       {"GET /livez HTTP/1.1" + host + "X: " + strings.Repeat("x", 4096) + "\r\n\r\n", 431},
		"a thousand headers":       {"GET /livez HTTP/1.1" + host + strings.Repeat("X: y\r\n", 1000) + "\r\n", 431},
		"a long path":              {"GET /" + strings.Repeat("x", 4096) + " HTTP/1.1" + host + "\r\n", 431},
		"a body of 1025 bytes":     {"POST /livez HTTP/1.1" + host + "Content-Length: 1025\r\n\r\n" + strings.Repeat("x", 1025), 413},
		"an invalid length":        {"POST /livez HTTP/1.1" + host + "Content-Length: x\r\n\r\n", 400},
		"an invalid chunk size":    {"POST /livez HTTP/1.1" + host + "Transfer-Encoding: chunked\r\n\r\nxyz\r\n", 400},
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := net.Dial("tcp", e.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
				t.Fatal(err)
			}
			write(t, conn, c.send)
			answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer answer.Body.Close()
			body, err := io.ReadAll(io.LimitReader(answer.Body, max(0, answer.ContentLength)))
			if err != nil {
				t.Fatal(err)
			}
			if c.want >= 400 {
				if message := expectError(t, response{answer, body}, c.want); strings.Contains(message, "livez") {
					t.Errorf("got the message %q, want one that does not repeat the request", message)
				}
			}
			if answer.StatusCode != c.want {
				t.Errorf("got %s, want %d", answer.Status, c.want)
			}
		})
	}
}

// TestAPI_EveryPathRequiresHost: a request without Host gets 400 on every path, and the edge closes the connection, as
// the request may be a part of another one.
func TestAPI_EveryPathRequiresHost(t *testing.T) {
	e := edgeWith(t, redistest.Start(t), unchanged)
	for _, path := range []string{"/", "/embed", "/clock", "/static/client.js", "/livez", "/readyz", "/health", "/api/v1/snapshot", "/api/openapi.json", "/ws/mempool", "/nothing"} {
		for _, method := range []string{"GET", "HEAD", "OPTIONS", "POST", "BREW"} {
			head, err := rawAnswer(e.Addr(), method+" "+path+" HTTP/1.1\r\n\r\n")
			if err != nil {
				t.Fatal(err)
			}
			if !strings.HasPrefix(head, "HTTP/1.1 400 ") || !strings.Contains(head, "Connection: close\r\n") {
				t.Errorf("%s %s: got %q, want 400 and Connection: close", method, path, head)
			}
		}
	}
}
