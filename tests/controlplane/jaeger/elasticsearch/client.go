// Package elasticsearch stands in for Elasticsearch's client in the build of Jaeger: the traces of the local environment
// and of the tests are kept in memory, and the client has more packages than the rest of Jaeger. It has what Jaeger
// names, and connects to nothing.
package elasticsearch

import (
	"errors"
	"net/http"

	"github.com/elastic/go-elasticsearch/v9/esapi"
)

// Config has the settings that Jaeger fills in.
type Config struct {
	Addresses            []string
	Username             string
	Password             string
	Header               http.Header
	DiscoverNodesOnStart bool
	CompressRequestBody  bool
	Transport            http.RoundTripper
}

// Client is never made.
type Client struct {
	Indices *esapi.Indices
}

// NewClient refuses: the storage is left out.
func NewClient(Config) (*Client, error) {
	return nil, errors.New("this Jaeger is built without Elasticsearch")
}
