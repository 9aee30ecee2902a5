package httpapi

import "testing"

func TestResponse_IfNoneMatch(t *testing.T) {
	for header, want := range map[string]bool{
		``: false, `"a"`: true, `W/"a"`: true, `"a-gzip"`: true, `W/"a-gzip"`: true, `*`: true, ` * `: true,
		`"b", W/"c" ,"a"`: true, `"b","c"`: false, `a`: false, `"ab"`: false, `w/"a"`: false, `"a-br"`: false,
	} {
		if got := matches(header, "a"); got != want {
			t.Errorf("If-None-Match: %s: got %v, want %v", header, got, want)
		}
	}
}

func TestResponse_AcceptEncoding(t *testing.T) {
	for header, want := range map[string]bool{
		``: false, `gzip`: true, `GZIP`: true, `x-gzip`: true, `br, gzip;q=0.1`: true, `gzip;q=0`: false, `gzip; q=0.000`: false,
		`deflate, br`: false, `identity`: false, `*`: true, `*;q=0`: false, `gzip;q=0, *`: false, `*;q=0, gzip`: true,
	} {
		if got := acceptsGzip(header); got != want {
			t.Errorf("Accept-Encoding: %s: got %v, want %v", header, got, want)
		}
	}
}
