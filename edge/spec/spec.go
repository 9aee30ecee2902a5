// Package spec embeds the machine-readable descriptions of the API. Tests compare them with an edge's responses.
package spec

import _ "embed"

// OpenAPI describes the HTTP paths, in OpenAPI 3.1 (JSON).
//
//go:embed openapi.json
var OpenAPI []byte

// AsyncAPI describes the WebSocket's messages, in AsyncAPI 3.0 (JSON).
//
//go:embed asyncapi.json
var AsyncAPI []byte
