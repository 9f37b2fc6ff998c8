package main

import (
	"strings"

	"github.com/docker/cli/cli/config"
	"go.podman.io/image/v5/docker/reference"
)

// As Docker, BuildKit and Flux do: by the host alone.
func dockerCli(_, text, image string) (string, error) {
	file, err := config.LoadFromReader(strings.NewReader(text))
	if err != nil {
		return "", err
	}
	named, err := reference.ParseNormalizedNamed(image)
	if err != nil {
		return "", err
	}
	login, err := file.GetAuthConfig(reference.Domain(named))
	return login.Password, err
}
