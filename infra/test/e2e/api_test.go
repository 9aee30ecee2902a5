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

// A response is an answer with its body as it came.
type response struct {
	*http.Response
	body []byte
}

// ask sends a request as it is: nothing is added, nothing unpacked, no redirect followed.
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
		return response{answer, nil} // what follows has no end
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

// firstEvent reads a stream of events up to the end of the first event with data.
func firstEvent(t testing.TB, body io.Reader) (text []byte) {
	t.Helper()
	lines := bufio.NewReader(body)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			t.Fatalf("%v after %q", err, text)
		}
		text = append(text, line...)
		if bytes.HasSuffix(text, []byte("}\n\n")) {
			return text
		}
	}
}

// plain keeps no connections, which an edge that ends would wait for.
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
		"24 hours before to":        {"to=1556771700", []float64{1, 2, 3, 4}},
		"both ends are included":    {"from=1556771680&to=1556771700", []float64{2, 3, 4}},
		"between the entries":       {"from=1556771681&to=1556771689", nil},
		"one second":                {"from=1556771690&to=1556771690", []float64{3}},
		"before the first":          {"from=0&to=1", nil},
		"after the last":            {"from=1556771721", nil},
		"the last of each 20 s":     {"from=0&step=20", []float64{1, 3, 5, 6}}, // a step began at 1556771660
		"steps over all":            {"from=0&step=86400", []float64{6}},
		"unknown ones are ignored":  {"from=0&colour=red", []float64{1, 2, 3, 4, 5, 6}},
	} {
		t.Run(name, func(t *testing.T) {
			var got struct {
				Step   int
				Points [][]float64
			}
			if code := getJSON(t, e, "/api/v1/history?"+c.query, &got); code != http.StatusOK || got.Points == nil {
				t.Errorf("answered with %d, points %v", code, got.Points)
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
		"step=9": "step", "step=86401": "step", "step=ten": "step", "step=": "step", "step=10.5": "step", "step=-10": "step",
		"from=yesterday": "from", "from=-1": "from", "from=": "from", "from=99999999999999999999": "from", "from=1e9": "from",
		"to=tomorrow": "to", "to=-1": "to", "to=1099511627777": "to", "from=20&to=10": "from",
	} {
		t.Run(query, func(t *testing.T) {
			got := ask(t, "GET", e, "/api/v1/history?"+query, nil)
			if message := expectError(t, got, http.StatusBadRequest); !strings.HasPrefix(message, want+" ") || !strings.Contains(message, "want ") {
				t.Errorf("it says %q, want it to name %s and what it may be", message, want)
			}
		})
	}
}

// expectError checks the shape of an error and gives its message.
func expectError(t testing.TB, got response, status int) string {
	t.Helper()
	var failure struct {
		Error struct {
			Code    int
			Message string
		}
	}
	if err := json.Unmarshal(got.body, &failure); err != nil {
		t.Errorf("%s: not our shape of error: %q", got.Status, got.body)
	}
	if got.StatusCode != status || failure.Error.Code != status || failure.Error.Message == "" {
		t.Errorf("answered with %s %s, want %d", got.Status, got.body, status)
	}
	return failure.Error.Message
}

// TestAPI_ConditionalAndCompressedResponses: for everything that many ask for.
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
	e, other := edgeWith(t, server, unchanged), edgeWith(t, server, unchanged)
	for _, one := range []*edge.Edge{e, other} { // the snapshot stays as it is: stale
		programs.Until(t, "the snapshot", func() bool {
			return strings.Contains(string(ask(t, "GET", one, "/api/v1/snapshot", nil).body), "stale")
		})
	}
	for _, path := range []string{
		"/api/v1/snapshot", "/api/v1/history?from=0", "/api/v1/points", "/api/openapi.json", "/api/asyncapi.json", "/", "/static/app.js",
		"/static/client.js",
	} {
		t.Run(path, func(t *testing.T) {
			whole := ask(t, "GET", e, path, nil)
			tag := whole.Header.Get("ETag")
			if whole.StatusCode != http.StatusOK || tag == "" || whole.Header.Get("Content-Encoding") != "" {
				t.Fatalf("%s, ETag %s, headers %v", whole.Status, tag, whole.Header)
			}
			if got := ask(t, "GET", other, path, nil).Header.Get("ETag"); got != tag {
				t.Errorf("two edges say %s and %s of the same", tag, got)
			}
			packed := ask(t, "GET", e, path, http.Header{"Accept-Encoding": {"br, gzip"}})
			if !bytes.Equal(unpack(t, packed), whole.body) {
				t.Error("compressed it is another body")
			}
			if packed.Header.Get("ETag") == tag || packed.Header.Get("Vary") != "Accept-Encoding" {
				t.Errorf("compressed: ETag %s, Vary %s", packed.Header.Get("ETag"), packed.Header.Get("Vary"))
			}
			for _, known := range []string{tag, "W/" + tag, `"x", ` + tag, "*", packed.Header.Get("ETag")} {
				again := ask(t, "GET", e, path, http.Header{"If-None-Match": {known}})
				if again.StatusCode != http.StatusNotModified || len(again.body) > 0 || again.Header.Get("ETag") != tag {
					t.Errorf("If-None-Match: %s is answered with %s, ETag %s", known, again.Status, again.Header.Get("ETag"))
				}
			}
			if changed := ask(t, "GET", e, path, http.Header{"If-None-Match": {`"x"`}}); changed.StatusCode != http.StatusOK {
				t.Errorf("with another tag: %s", changed.Status)
			}
			head := ask(t, "HEAD", e, path, nil)
			if head.Header.Get("ETag") != tag || head.ContentLength != int64(len(whole.body)) {
				t.Errorf("HEAD: ETag %s, length %d", head.Header.Get("ETag"), head.ContentLength)
			}
		})
	}
}

func unpack(t testing.TB, packed response) []byte {
	t.Helper()
	if packed.Header.Get("Content-Encoding") != "gzip" {
		t.Fatalf("not compressed: %v", packed.Header)
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
	const friend, stranger = "https://friend.example", "https://stranger.example"
	for name, c := range map[string]struct {
		origins      []string
		origin, want string // Access-Control-Allow-Origin
		vary         bool
	}{
		"any origin":             {[]string{"*"}, stranger, "*", false},
		"any, without an origin": {[]string{"*"}, "", "*", false},
		"none":                   {nil, friend, "", false},
		"a friend":               {[]string{"https://other.example", friend}, friend, friend, true},
		"a stranger":             {[]string{friend}, stranger, "", true},
		"nobody in particular":   {[]string{friend}, "", "", true},
		"the null origin":        {[]string{friend}, "null", "", true},
		"an application":         {[]string{"tauri://localhost", "null"}, "tauri://localhost", "tauri://localhost", true},
		"null, listed":           {[]string{"tauri://localhost", "null"}, "null", "null", true},
		"another application":    {[]string{"tauri://localhost", "null"}, "ionic://localhost", "", true},
		"a longer name":          {[]string{friend}, friend + ".evil.example", "", true},
	} {
		t.Run(name, func(t *testing.T) {
			e := edgeWith(t, server, func(o *edge.Options) { o.CORSOrigins = c.origins })
			header := http.Header{}
			if c.origin != "" {
				header.Set("Origin", c.origin)
			}
			for path, status := range map[string]int{
				"/api/v1/about": 200, "/api/v1/history": 200, "/api/v1/points": 200, "/api/v1/snapshot": 503, "/api/v1/history?step=1": 400, "/api/v1/points?since=": 400, "/api/nothing": 404,
				"/static/client.js": 200,
			} {
				got := ask(t, "GET", e, path, header)
				if got.StatusCode != status || got.Header.Get("Access-Control-Allow-Origin") != c.want {
					t.Errorf("%s: %s, allowed is %q, want %q", path, got.Status, got.Header.Get("Access-Control-Allow-Origin"), c.want)
				}
				if varies := strings.Contains(strings.Join(got.Header.Values("Vary"), ", "), "Origin"); varies != c.vary {
					t.Errorf("%s: Vary %v", path, got.Header.Values("Vary"))
				}
			}
			header.Set("Access-Control-Request-Method", "GET")
			preflight := ask(t, "OPTIONS", e, "/api/v1/snapshot", header)
			methods := preflight.Header.Get("Access-Control-Allow-Methods")
			if preflight.StatusCode != http.StatusNoContent || (methods != "") != (c.want != "") || preflight.Header.Get("Allow") == "" {
				t.Errorf("preflight: %s, headers %v", preflight.Status, preflight.Header)
			}
			if preflight.Header.Get("Access-Control-Allow-Credentials") != "" {
				t.Error("credentials are allowed")
			}
			if page := ask(t, "GET", e, "/", header); page.Header.Get("Access-Control-Allow-Origin") != "" {
				t.Error("the page is allowed too, not only the API")
			}
		})
	}
}

// TestAPI_Methods: HEAD wherever there is a GET, 405 that says what may be, 404 for what is not there, always in our shape.
func TestAPI_Methods(t *testing.T) {
	server := redistest.Start(t)
	if err := server.Client().Set(t.Context(), contract.KeyLatest, encode("5", 10), 0).Err(); err != nil {
		t.Fatal(err)
	}
	e := edgeWith(t, server, unchanged)
	programs.Until(t, "the edge to be ready", func() bool { return ask(t, "GET", e, "/readyz", nil).StatusCode == http.StatusOK })
	const api, page = "GET, HEAD, OPTIONS", "GET, HEAD"
	for path, allow := range map[string]string{
		"/api/v1/snapshot": api, "/api/v1/history": api, "/api/v1/points": api, "/api/v1/about": api,
		"/api/openapi.json": api, "/api/asyncapi.json": api,
		"/": page, "/embed": page, "/clock": page, "/static/app.js": page, "/static/client.js": page, "/health": page, "/livez": page, "/readyz": page,
	} {
		get, head := ask(t, "GET", e, path, nil), ask(t, "HEAD", e, path, nil)
		if head.StatusCode != http.StatusOK || len(head.body) > 0 || head.ContentLength != int64(len(get.body)) {
			t.Errorf("HEAD %s: %s, length %d, GET has %d", path, head.Status, head.ContentLength, len(get.body))
		}
		for _, method := range []string{"POST", "PUT", "PATCH", "DELETE", "TRACE", "BREW"} {
			got := ask(t, method, e, path, nil)
			expectError(t, got, http.StatusMethodNotAllowed)
			if got.Header.Get("Allow") != allow {
				t.Errorf("%s %s: Allow: %q, want %q", method, path, got.Header.Get("Allow"), allow)
			}
		}
	}
	for _, path := range []string{"/api", "/api/", "/api/v1", "/api/v1/price", "/api/v2/snapshot", "/nothing", "/static/none.js", "/static/"} {
		for _, method := range []string{"GET", "POST", "BREW"} {
			if strings.HasPrefix(path, "/static/") && method != "GET" {
				continue // any file there may be, so 405 is as right
			}
			expectError(t, ask(t, method, e, path, nil), http.StatusNotFound)
		}
	}
}

// TestAPI_RejectsMalformedRequests is told so in our shape too, not in the server's plain text.
func TestAPI_RejectsMalformedRequests(t *testing.T) {
	e := edgeWith(t, redistest.Start(t), unchanged)
	const host = "\r\nHost: x\r\n"
	for name, c := range map[string]struct {
		send string
		want int
	}{
		"HTTP/1.0":                {"GET /livez HTTP/1.0\r\n\r\n", 200},
		"a Host":                  {"GET /livez HTTP/1.1\r\nhOST:\tx.example:8080 \r\n\r\n", 200},
		"a Host of IPv6":          {"GET /livez HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n", 200},
		"an empty Host":           {"GET /livez HTTP/1.1\r\nHost:\r\n\r\n", 200},
		"no Host":                 {"GET /livez HTTP/1.1\r\nX-Host: x\r\n\r\n", 400},
		"no header at all":        {"GET /livez HTTP/1.1\r\n\r\n", 400},
		"a whole URL and no Host": {"GET http://x/livez HTTP/1.1\r\n\r\n", 400},
		"two Hosts":               {"GET /livez HTTP/1.1" + host + "X: y\r\nHost: y\r\n\r\n", 400},
		"two Hosts that agree":    {"GET /livez HTTP/1.1" + host + "host: x\r\n\r\n", 400},
		"two Hosts in HTTP/1.0":   {"GET /livez HTTP/1.0" + host + "Host: x\r\n\r\n", 400},
		"a Host with a path":      {"GET /livez HTTP/1.1\r\nHost: x/y\r\n\r\n", 400},
		"a Host with a user":      {"GET /livez HTTP/1.1\r\nHost: u@x\r\n\r\n", 400},
		"a Host of two words":     {"GET /livez HTTP/1.1\r\nHost: x y\r\n\r\n", 400},
		"a Host's port":           {"GET /livez HTTP/1.1\r\nHost: x:y\r\n\r\n", 400},
		"a Host in two lines":     {"GET /livez HTTP/1.1\r\nHost: x\r\n y\r\n\r\n", 400},
		"a Host, indented":        {"GET /livez HTTP/1.1\r\nX: y\r\n Host: x\r\n\r\n", 400},
		"a space after Host":      {"GET /livez HTTP/1.1\r\nHost : x\r\n\r\n", 400},
		"HTTP/2.0 in one line":    {"GET /livez HTTP/2.0" + host + "\r\n", 505},
		"HTTP/1.9":                {"GET /livez HTTP/1.9" + host + "\r\n", 505},
		"a preface of HTTP/2":     {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505},
		"no version":              {"GET /livez" + host + "\r\n", 400},
		"a version of letters":    {"GET /livez HTTP/x.y" + host + "\r\n", 400},
		"another protocol":        {"GET /livez ICY/1.1" + host + "\r\n", 400},
		"nonsense":                {"nonsense\r\n\r\n", 400},
		"a method of signs":       {"G@T /livez HTTP/1.1" + host + "\r\n", 400},
		"4 kB of one header":      {"GET /livez HTTP/1.1" + host + "X: " + strings.Repeat("x", 4096) + "\r\n\r\n", 431},
		"a thousand headers":      {"GET /livez HTTP/1.1" + host + strings.Repeat("X: y\r\n", 1000) + "\r\n", 431},
		"a long path":             {"GET /" + strings.Repeat("x", 4096) + " HTTP/1.1" + host + "\r\n", 431},
		"a body of 1025 bytes":    {"POST /livez HTTP/1.1" + host + "Content-Length: 1025\r\n\r\n" + strings.Repeat("x", 1025), 413},
		"a length that is none":   {"POST /livez HTTP/1.1" + host + "Content-Length: x\r\n\r\n", 400},
		"a chunk that is no size": {"POST /livez HTTP/1.1" + host + "Transfer-Encoding: chunked\r\n\r\nxyz\r\n", 400},
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
					t.Errorf("it repeats what was sent: %q", message)
				}
			}
			if answer.StatusCode != c.want {
				t.Errorf("answered with %s, want %d", answer.Status, c.want)
			}
		})
	}
}

// TestAPI_EveryPathRequiresHost, whether it is there or not, and hangs up: the request may be half of someone else's.
func TestAPI_EveryPathRequiresHost(t *testing.T) {
	e := edgeWith(t, redistest.Start(t), unchanged)
	for _, path := range []string{"/", "/embed", "/clock", "/static/client.js", "/livez", "/readyz", "/health", "/api/v1/snapshot", "/api/openapi.json", "/ws/mempool", "/nothing"} {
		for _, method := range []string{"GET", "HEAD", "OPTIONS", "POST", "BREW"} {
			head, err := rawAnswer(e.Addr(), method+" "+path+" HTTP/1.1\r\n\r\n")
			if err != nil {
				t.Fatal(err)
			}
			if !strings.HasPrefix(head, "HTTP/1.1 400 ") || !strings.Contains(head, "Connection: close\r\n") {
				t.Errorf("%s %s: answered %q", method, path, head)
			}
		}
	}
}
