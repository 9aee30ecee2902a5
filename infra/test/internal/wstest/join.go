package wstest

import (
	"fmt"
	"net"
	"net/http"
	"testing"

	"github.com/coder/websocket"

	"sightglass/infra/test/internal/programs"
)

// Join opens a connection and reads one message. It returns the connection, and the code with which the server closed it, 0
// if it is open.
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

// MustJoin opens n connections, distributed over the edges in rotation. The test fails if one of them is closed.
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

// MustNotJoin fails the test unless each edge rejects another connection from the address. It retries for a minute: an edge
// that gets no response from Redis within 200 ms counts only its own connections for a moment.
func MustNotJoin(t testing.TB, from net.IP, edges ...net.Addr) {
	t.Helper()
	for i, addr := range edges {
		programs.Until(t, fmt.Sprintf("edge %d to reject a connection over the limit from %v", i+1, from), func() bool {
			conn, code := Join(t, URL(addr.String()), from, nil)
			conn.CloseNow()
			return code == TooMany
		})
	}
}
