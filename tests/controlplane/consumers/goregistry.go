package main

import (
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
)

// As crane, kaniko and ko do.
func goContainerregistry(_, _, image string) (string, error) {
	reference, err := name.ParseReference(image)
	if err != nil {
		return "", err
	}
	found, err := authn.DefaultKeychain.Resolve(reference.Context())
	if err != nil {
		return "", err
	}
	login, err := found.Authorization()
	if err != nil {
		return "", err
	}
	return login.Password, nil
}
