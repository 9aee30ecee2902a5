package hub

import (
	"errors"
	"os"
	"strconv"
	"syscall"
	"time"

	"sightglass/edge/ws"
)

// A reason is why a connection ends, as the client is told. The code's range tells a client what to do: 1002, 1003,
// 1007, 1008, 1009 do not retry; 1001 and 4000 to 4028 reconnect; 4029 wait a minute first; 4030 try another edge.
type reason struct {
	code int
	text string
}

var (
	goingAway          = reason{ws.CloseGoingAway, "edge is draining, please reconnect"}
	noBinary           = reason{ws.CloseUnsupported, "text messages only"}
	tooManyMessages    = reason{ws.ClosePolicy, "too many messages"}
	noProgress         = reason{4008, "no progress for too long, please reconnect"}
	tooManyFromAddress = reason{4029, "too many connections from your address, retry after 60 s"}
	edgeFull           = reason{4030, "edge is full, please reconnect elsewhere"}

	left = reason{0, "left"} // the client's own doing
)

// reasons are all that end a connection; those without a text here have one from package ws.
var reasons = []reason{
	goingAway, {code: ws.CloseProtocol}, noBinary, {code: ws.CloseNotUTF8}, tooManyMessages, {code: ws.CloseTooLarge},
	noProgress, tooManyFromAddress, edgeFull, left,
}

// label is the reason as a metric's label.
func (r reason) label() string {
	if r.code == 0 {
		return "left"
	}
	return strconv.Itoa(r.code)
}

// whyFailed is the reason behind an error of reading or writing.
func whyFailed(err error) reason {
	if wrong, ok := errors.AsType[*ws.Error](err); ok {
		return reason{wrong.Code, wrong.Text}
	}
	// The second is the kernel's, who has had no answer to what it sent.
	if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, syscall.ETIMEDOUT) {
		return noProgress
	}
	return left
}

// goodbye is how long a client may take to hear why it must go, and to hang up.
const goodbye = time.Second
