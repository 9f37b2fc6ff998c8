package main

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/config"
	"gopkg.in/ini.v1"
)

// As Velero's plugin for AWS does.
func awsSdk(file string) (session, error) {
	ctx := context.Background()
	loaded, err := config.LoadDefaultConfig(ctx,
		config.WithSharedCredentialsFiles([]string{file}), config.WithSharedConfigFiles([]string{file}),
		config.WithSharedConfigProfile("default"))
	if err != nil {
		return session{}, err
	}
	found, err := loaded.Credentials.Retrieve(ctx)
	return session{found.AccessKeyID, found.SecretAccessKey, found.SessionToken}, err
}

// As Crossplane's AWS providers do.
func goIni(file string) (session, error) {
	loaded, err := ini.InsensitiveLoad(file)
	if err != nil {
		return session{}, err
	}
	section, err := loaded.GetSection(ini.DefaultSection)
	if err != nil {
		return session{}, err
	}
	value := func(key string) string { return section.Key(key).Value() }
	return session{value("aws_access_key_id"), value("aws_secret_access_key"), value("aws_session_token")}, nil
}
