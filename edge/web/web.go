// Package web is the dashboard and its two small relatives, embedded: pages, scripts and styles, nothing from outside.
package web

import (
	"embed"
	"io/fs"
)

//go:embed index.html embed.html clock.html static
var files embed.FS

// Files holds the pages and static/.
func Files() fs.FS { return files }

// A page is allowed what it needs: its own files and its own WebSocket.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; " +
	"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors "

// The Content-Security-Policy of the card, which any page may frame: it has nothing to click but a link, and no cookies.
// No other page may be framed.
const (
	ContentSecurityPolicy = policy + "'none'"
	EmbedPolicy           = policy + "*"
)

// Client is the path of the script that pages of other origins may import.
const Client = "/static/client.js"
