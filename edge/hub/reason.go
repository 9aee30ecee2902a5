package hub

import (
	"errors"
	"os"
	"strconv"
	"syscall"
	"time"
)

// A reason says why a connection ends, as sent to the client. The code's range says what the client should do: 1002, 1003,
// 1007, 1008, 1009 do not retry; 1001 and 4000 to 4028 reconnect; 4029 wait a minute first; 4030 try another edge.
// Codes below 4000 are WebSocket's (RFC 6455, section 7.4.1); other protocols use the same ones.
type reason struct {
	code int
	text string
}

var (
	goingAway          = reason{1001, "edge is draining, please reconnect"}
	tooManyMessages    = reason{1008, "too many messages"}
	noProgress         = reason{4008, "no progress for too long, please reconnect"}
	tooManyFromAddress = reason{4029, "too many connections from your address, retry after 60 s"}
	edgeFull           = reason{4030, "edge is full, please reconnect elsewhere"}

	left = reason{0, "left"} // the client closed the connection, or its network did
)

// reasonCodes are all close codes in the metrics. Those without a reason above are for a client's protocol errors.
var reasonCodes = []int{
	left.code, goingAway.code, 1002, 1003, 1007, tooManyMessages.code, 1009, noProgress.code, tooManyFromAddress.code, edgeFull.code,
}

// codeLabel returns a close code as a metric's label.
func codeLabel(code int) string {
	if code == left.code {
		return "left"
	}
	return strconv.Itoa(code)
}

// socketReason returns the reason for an error of the socket.
func socketReason(err error) reason {
	// ETIMEDOUT is the kernel's: the client did not acknowledge what was sent.
	if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, syscall.ETIMEDOUT) {
		return noProgress
	}
	return left
}

// closeGrace is how long a client has to read the reason and close its side.
const closeGrace = time.Second
