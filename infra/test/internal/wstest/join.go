package wstest

import (
	"fmt"
	"net"
	"net/http"
	"testing"

	"github.com/coder/websocket"

	"sightglass/infra/test/internal/programs"
)

// Join opens a connection and reads one message. It returns the connection and the code with which it was closed, 0 if it
// is open.
func Join(t testing.TB, url string, from net.IP, header http.Header) (*websocket.Conn, websocket.StatusCode) {
	t.Helper()
	conn := MustDial(t, url, from, websocket.DialOptions{HTTPHeader: header})
	if _, err := Read(t.Context(), conn); err != nil {
		if code := websocket.CloseStatus(err); code > 0 {
			return conn, code
		}
		t.Fatal(err)
	}
	return conn, 0
}

// MustJoin lets n clients join, in turn at each of the edges.
func MustJoin(t testing.TB, n int, from net.IP, edges ...net.Addr) []*websocket.Conn {
	t.Helper()
	conns := make([]*websocket.Conn, n)
	for i := range conns {
		var code websocket.StatusCode
		if conns[i], code = Join(t, URL(edges[i%len(edges)].String()), from, nil); code != 0 {
			t.Fatalf("client %d of %v was closed with %d", i+1, from, code)
		}
	}
	return conns
}

// MustNotJoin expects that no edge has a place left for the address. An edge that gets no answer from Redis within 200 ms
// counts alone for a moment, so it may take another try.
func MustNotJoin(t testing.TB, from net.IP, edges ...net.Addr) {
	t.Helper()
	for i, addr := range edges {
		programs.Until(t, fmt.Sprintf("edge %d to reject one too many from %v", i+1, from), func() bool {
			conn, code := Join(t, URL(addr.String()), from, nil)
			conn.CloseNow()
			return code == TooMany
		})
	}
}
