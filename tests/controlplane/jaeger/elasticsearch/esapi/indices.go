// Package esapi has the one call of Elasticsearch's indices that Jaeger names.
package esapi

import (
	"io"
	"net/http"
)

// Indices are the calls about indices.
type Indices struct {
	PutIndexTemplate func(name string, body io.Reader) (*Response, error)
}

// Response is the answer to a call.
type Response struct {
	StatusCode int
	Header     http.Header
	Body       io.ReadCloser
}

// String is what Jaeger puts into its error.
func (response *Response) String() string {
	return http.StatusText(response.StatusCode)
}
