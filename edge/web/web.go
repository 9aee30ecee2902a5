// Package web embeds the dashboard, the card and the clock: pages, scripts and styles. They load nothing from other hosts.
package web

import (
	"embed"
	"io/fs"
)

//go:embed index.html embed.html clock.html manifest.webmanifest sw.js static
var files embed.FS

// Files returns the pages, what makes them an application, and static/.
func Files() fs.FS { return files }

// policy allows a page its own files and its own WebSocket.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; " +
	"connect-src 'self'; base-uri 'none'; form-action 'none'; "

// The Content-Security-Policies. Any page may frame the card, which has one link and no cookies; the others cannot be framed,
// but can be installed as an application and work offline.
const (
	ContentSecurityPolicy = policy + "manifest-src 'self'; worker-src 'self'; frame-ancestors 'none'"
	EmbedPolicy           = policy + "frame-ancestors *"
)

// Client is the path of the script that pages of other origins may import.
const Client = "/static/client.js"
