// Package web embeds the dashboard, the card and the clock: pages, scripts and styles. They load nothing from other hosts.
package web

import (
	"embed"
	"io/fs"
)

//go:embed index.html embed.html clock.html static
var files embed.FS

// Files returns the pages and static/.
func Files() fs.FS { return files }

// policy allows a page its own files and its own WebSocket.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; " +
	"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors "

// The Content-Security-Policies. Any page may frame the card, which has one link and no cookies; the others cannot be framed.
const (
	ContentSecurityPolicy = policy + "'none'"
	EmbedPolicy           = policy + "*"
)

// Client is the path of the script that pages of other origins may import.
const Client = "/static/client.js"
