package httpapi

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"sync"

	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"
)

// minGzip is the size in bytes from which a body is worth compressing: below, it fits one TCP segment as it is.
const minGzip = 1400

// A Response is a body that many clients ask for. It is compressed once, when the first client accepts that. It does not
// change.
type Response struct {
	tag          string // what is between the quotes of its ETag
	contentType  string
	cacheControl string
	body         []byte

	once    sync.Once
	gzipped []byte
}

// NewResponse makes a response whose tag is computed from the body, so it is the same on each edge.
func NewResponse(body []byte, contentType, cacheControl string) *Response {
	sum := sha256.Sum256(body)
	return &Response{
		tag: hex.EncodeToString(sum[:8]), contentType: contentType, cacheControl: cacheControl, body: body,
	}
}

func (r *Response) gzip() []byte {
	// The fastest level: a day of history comes out a seventh larger than with the usual one, in two thirds of the time,
	// which on one core the clients of the stream would wait for.
	r.once.Do(func() { r.gzipped = fasthttp.AppendGzipBytesLevel(nil, r.body, fasthttp.CompressBestSpeed) })
	return r.gzipped
}

// Send answers a GET or HEAD: with the body, compressed if the client accepts that, or with 304 if the client has it.
// Plain and compressed have an ETag each, as strong ones must, and either is good for a 304.
func (r *Response) Send(c *fiber.Ctx) error {
	body, tag := r.body, `"`+r.tag+`"`
	c.Vary(fiber.HeaderAcceptEncoding)
	c.Set(fiber.HeaderCacheControl, r.cacheControl)
	c.Set(fiber.HeaderXContentTypeOptions, "nosniff")
	if len(body) >= minGzip && acceptsGzip(c.Get(fiber.HeaderAcceptEncoding)) {
		body, tag = r.gzip(), `"`+r.tag+`-gzip"`
		c.Set(fiber.HeaderContentEncoding, "gzip")
	}
	c.Set(fiber.HeaderETag, tag)
	if matches(c.Get(fiber.HeaderIfNoneMatch), r.tag) {
		c.Response().Header.Del(fiber.HeaderContentEncoding)
		c.Status(fiber.StatusNotModified)
		return nil
	}
	c.Set(fiber.HeaderContentType, r.contentType)
	return c.Send(body)
}

// matches compares an If-None-Match, a list or *, weakly: W/ makes no difference (RFC 9110, 13.1.2).
func matches(ifNoneMatch, tag string) bool {
	for one := range strings.SplitSeq(ifNoneMatch, ",") { // our tags hold no comma
		one = strings.TrimPrefix(strings.TrimSpace(one), "W/")
		if one == "*" || one == `"`+tag+`"` || one == `"`+tag+`-gzip"` {
			return true
		}
	}
	return false
}

// acceptsGzip reads an Accept-Encoding. Without the header there is no compression, so that people can read responses.
func acceptsGzip(acceptEncoding string) bool {
	others := false
	for one := range strings.SplitSeq(acceptEncoding, ",") {
		coding, quality, _ := strings.Cut(one, ";")
		wanted := !isZero(quality)
		switch strings.ToLower(strings.TrimSpace(coding)) {
		case "gzip", "x-gzip":
			return wanted
		case "*":
			others = wanted
		}
	}
	return others
}

// isZero reports whether a q=0 says that a coding is not wanted.
func isZero(quality string) bool {
	value, ok := strings.CutPrefix(strings.ToLower(strings.TrimSpace(quality)), "q=")
	return ok && strings.Trim(value, "0.") == ""
}
