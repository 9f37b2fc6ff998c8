package main

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/kubernetes/pkg/credentialprovider"
	"k8s.io/kubernetes/pkg/credentialprovider/secrets"
	"k8s.io/kubernetes/pkg/util/parsers"
)

// As the kubelet looks for the login in the imagePullSecrets of a pod.
func kubelet(_, config, image string) (string, error) {
	secret := corev1.Secret{
		Type: corev1.SecretTypeDockerConfigJson,
		Data: map[string][]byte{corev1.DockerConfigJsonKey: []byte(config)},
	}
	keyring, err := secrets.MakeDockerKeyring([]corev1.Secret{secret}, credentialprovider.UnionDockerKeyring{})
	if err != nil {
		return "", err
	}
	repository, _, _, err := parsers.ParseImageName(image)
	if err != nil {
		return "", err
	}
	found, _ := keyring.Lookup(repository)
	if len(found) == 0 {
		return "", nil
	}
	return found[0].Password, nil
}
