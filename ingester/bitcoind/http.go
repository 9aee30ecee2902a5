package bitcoind

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
)

// post sends body and passes the response to read.
func (c *Client) post(ctx context.Context, body []byte, read func(*bufio.Reader) error) error {
	user, password, err := c.login()
	if err != nil {
		return credentials.wrap(err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.opts.URL, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.SetBasicAuth(user, password)
	req.Header.Set("Content-Type", "application/json")
	res, err := c.http.Do(req)
	if err != nil {
		return classifyTransport(err)
	}
	defer res.Body.Close()
	return c.receive(res, read)
}

// login returns the user and the password. Its errors do not show the file's content.
func (c *Client) login() (user, password string, err error) {
	if c.opts.Cookie == "" {
		return c.opts.User, c.opts.Password, nil
	}
	line, err := os.ReadFile(c.opts.Cookie)
	if err != nil {
		return "", "", fmt.Errorf("%w (bitcoind writes its cookie when it starts and removes it when it stops)", err)
	}
	user, password, _ = strings.Cut(strings.TrimSpace(string(line)), ":")
	if user == "" || password == "" || strings.ContainsAny(password, "\r\n") {
		return "", "", fmt.Errorf("%s does not hold one line of user:password", c.opts.Cookie)
	}
	return user, password, nil
}

// quotedBytes is how many bytes of a malformed response an error shows.
const quotedBytes = 80

// receive uses the status only where bitcoind sends nothing else: the JSON of an error comes with 500, 404 or 400.
func (c *Client) receive(res *http.Response, read func(*bufio.Reader) error) error {
	switch res.StatusCode {
	case http.StatusUnauthorized:
		return credentials.wrapf("the node rejects ours (HTTP 401)")
	case http.StatusForbidden:
		return forbidden.wrapf("HTTP 403")
	}
	in := bufio.NewReaderSize(body{http.MaxBytesReader(nil, res.Body, c.maxResponse)}, 64<<10)
	peeked, _ := in.Peek(quotedBytes)
	head := strings.TrimSpace(string(peeked)) // a copy: read overwrites the peeked bytes
	switch {
	case strings.Contains(head, "Work queue depth exceeded"): // with 503; with 500 from old nodes
		return busy.wrapf("%s (HTTP %d)", head, res.StatusCode)
	case res.StatusCode >= 500 && !strings.HasPrefix(head, "{") && !strings.HasPrefix(head, "["):
		return unreachable.wrapf("HTTP %s", res.Status)
	}
	err := read(in)
	var broken *transportError
	var large *http.MaxBytesError
	var rpcErr *Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &rpcErr):
		return rpcErr.classify()
	case errors.As(err, &large):
		return badResponse.wrapf("the response is larger than %d bytes", large.Limit)
	case errors.As(err, &broken):
		return unreachable.wrap(broken.error)
	}
	return badResponse.wrapf("%w: HTTP %d, %q", err, res.StatusCode, head)
}

// A body marks the errors of a connection: the JSON decoder returns io.ErrUnexpectedEOF too, for another reason.
type body struct{ io.Reader }

type transportError struct{ error }

func (e *transportError) Unwrap() error { return e.error }

func (b body) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = &transportError{err}
	}
	return n, err
}

// classifyTransport distinguishes a peer that is down, or goes away, from one that speaks another protocol.
func classifyTransport(err error) error {
	var outer *url.Error
	if errors.As(err, &outer) { // it only repeats the URL
		err = outer.Err
	}
	var record tls.RecordHeaderError
	var certificate *tls.CertificateVerificationError
	switch {
	case errors.As(err, &record), errors.As(err, &certificate), errors.Is(err, http.ErrSchemeMismatch), errors.Is(err, errZMQ),
		strings.Contains(err.Error(), "malformed HTTP"): // net/http has no type for it
		return badResponse.wrap(err)
	}
	return unreachable.wrap(err)
}

// errZMQ is returned for a connection to a node's ZMQ port.
var errZMQ = errors.New("this port is a ZMQ socket")

// dial connects to a node. A ZMQ socket sends the first ten bytes of its greeting and waits for ours, while net/http
// waits for the end of a line: only the first byte shows it before the call's timeout.
func dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &zmqDetector{Conn: conn}, nil
}

// zmqDetector checks the first byte received. net/http reads from one goroutine at a time.
type zmqDetector struct {
	net.Conn
	started bool
}

// zmtpSignature starts the greeting of ZMTP (RFC 23), and neither a response of HTTP nor a record of TLS.
const zmtpSignature = 0xFF

func (z *zmqDetector) Read(p []byte) (int, error) {
	n, err := z.Conn.Read(p)
	if !z.started && n > 0 {
		z.started = true
		if p[0] == zmtpSignature {
			return 0, errZMQ
		}
	}
	return n, err
}
