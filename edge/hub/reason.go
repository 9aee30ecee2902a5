package hub

import (
	"errors"
	"io"
	"strconv"
	"time"

	"github.com/fasthttp/websocket"
)

// A reason is why a connection ends, as the client is told. The code's range tells a client what to do: 1003, 1008,
// 1009 do not retry; 1001 and 4000 to 4028 reconnect; 4029 wait a minute first; 4030 try another edge.
type reason struct {
	code int
	text string
}

var (
	goingAway          = reason{websocket.CloseGoingAway, "edge is draining, please reconnect"}
	noBinary           = reason{websocket.CloseUnsupportedData, "text messages only"}
	tooManyMessages    = reason{websocket.ClosePolicyViolation, "too many messages"}
	tooLarge           = reason{websocket.CloseMessageTooBig, "message over 512 bytes"}
	noProgress         = reason{4008, "no progress for too long, please reconnect"}
	tooManyFromAddress = reason{4029, "too many connections from your address, retry after 60 s"}
	edgeFull           = reason{4030, "edge is full, please reconnect elsewhere"}

	left = reason{0, "left"} // the client's own doing
)

// label is the reason as a metric's label.
func (r reason) label() string {
	if r.code == 0 {
		return "left"
	}
	return strconv.Itoa(r.code)
}

// goodbye is how long a client may take to hear why it must go, and to answer.
const goodbye = time.Second

// sayGoodbye sends the close frame. It may be called beside a writer.
func sayGoodbye(conn *websocket.Conn, why reason) {
	frame := websocket.FormatCloseMessage(why.code, why.text)
	// An error means that the client is gone or reads nothing: it cannot be told.
	conn.WriteControl(websocket.CloseMessage, frame, time.Now().Add(goodbye)) //nolint:errcheck
}

// awaitGoodbye reads on until the client answers, so that it gets to read the close frame: closing over unread bytes
// would reset the connection and take the frame along. It must be called by the reader.
func awaitGoodbye(conn *websocket.Conn) {
	const mostBytes = 1 << 20 // a flooder does not hold us for longer
	if conn.SetReadDeadline(time.Now().Add(goodbye)) != nil {
		return
	}
	conn.SetPongHandler(func(string) error { return nil }) // or a pong would put the deadline off
	_, _, err := conn.NextReader()
	for n := 0; err == nil && n < mostBytes/maxMessage; n++ {
		_, _, err = conn.NextReader()
	}
	if _, answered := errors.AsType[*websocket.CloseError](err); !answered {
		// What comes is no WebSocket any more, but it must be taken off the socket all the same.
		io.CopyN(io.Discard, conn.NetConn(), mostBytes) //nolint:errcheck
	}
}
