package main

import (
	"os"
	"path/filepath"

	"go.podman.io/image/v5/docker/reference"
	"go.podman.io/image/v5/pkg/docker/config"
	"go.podman.io/image/v5/types"
)

// As skopeo, buildah, podman and CRI-O do.
func containersImage(folder, _, image string) (string, error) {
	named, err := reference.ParseNormalizedNamed(image)
	if err != nil {
		return "", err
	}
	system := &types.SystemContext{
		AuthFilePath: filepath.Join(folder, "config.json"),
		// Not those of the machine.
		SystemRegistriesConfPath:    os.DevNull,
		SystemRegistriesConfDirPath: folder,
	}
	login, err := config.GetCredentialsForRef(system, named)
	return login.Password, err
}
