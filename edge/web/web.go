// Package web is the dashboard, embedded: one page, its script and its style, nothing from outside.
package web

import (
	"embed"
	"io/fs"
)

//go:embed index.html static
var files embed.FS

// Files holds index.html and static/.
func Files() fs.FS { return files }

// ContentSecurityPolicy allows the page what it needs: its own files and its own WebSocket.
const ContentSecurityPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; " +
	"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
