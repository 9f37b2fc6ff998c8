package main

import (
	"context"
	"path/filepath"

	"oras.land/oras-go/v2/registry"
	"oras.land/oras-go/v2/registry/remote/credentials"
)

// As oras and Helm do: by the host alone.
func orasGo(folder, _, image string) (string, error) {
	store, err := credentials.NewStore(filepath.Join(folder, "config.json"), credentials.StoreOptions{})
	if err != nil {
		return "", err
	}
	reference, err := registry.ParseReference(image)
	if err != nil {
		return "", err
	}
	login, err := credentials.Credential(store)(context.Background(), reference.Host())
	return login.Password, err
}
