// Reads what the operator writes with the code of those who read it.
//
//	go-consumers keyrings < question   which login each program finds for each image
//	go-consumers profile < file        what each program reads from an AWS shared credentials file
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// A question about a docker config.
type question struct {
	// The docker config.
	Config string `json:"config"`
	// The images, as a pod names them.
	Images []string `json:"images"`
}

// The programs that look for a login, each with the function that tells the password it finds for an image in a docker config, which lies in
// a folder as config.json.
var keyrings = map[string]func(folder, config, image string) (string, error){
	"kubelet":              kubelet,
	"go-containerregistry": goContainerregistry,
	"containers/image":     containersImage,
	"docker/cli":           dockerCli,
	"oras-go":              orasGo,
}

// The programs that read a shared credentials file.
var profiles = map[string]func(file string) (session, error){
	"aws-sdk-go-v2": awsSdk,
	"go-ini":        goIni,
}

// The keys of a session.
type session struct {
	AccessKeyID     string `json:"accessKeyId"`
	SecretAccessKey string `json:"secretAccessKey"`
	SessionToken    string `json:"sessionToken"`
}

func main() {
	answer, err := answer(os.Args[1:])
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(answer)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func answer(arguments []string) (any, error) {
	if len(arguments) != 1 {
		return nil, fmt.Errorf("usage: go-consumers keyrings|profile")
	}
	given, err := io.ReadAll(os.Stdin)
	if err != nil {
		return nil, err
	}
	folder, err := os.MkdirTemp("", "go-consumers-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(folder)
	switch arguments[0] {
	case "keyrings":
		var asked question
		if err := json.Unmarshal(given, &asked); err != nil {
			return nil, err
		}
		return passwords(folder, asked)
	case "profile":
		file := filepath.Join(folder, "credentials")
		if err := os.WriteFile(file, given, 0o600); err != nil {
			return nil, err
		}
		found := map[string]session{}
		for program, read := range profiles {
			if found[program], err = read(file); err != nil {
				return nil, fmt.Errorf("%s: %w", program, err)
			}
		}
		return found, nil
	default:
		return nil, fmt.Errorf("nothing is known of %q", arguments[0])
	}
}

// The passwords that each program finds, one for each image; an empty one where it finds none.
func passwords(folder string, asked question) (map[string][]string, error) {
	if err := os.WriteFile(filepath.Join(folder, "config.json"), []byte(asked.Config), 0o600); err != nil {
		return nil, err
	}
	// go-containerregistry finds its docker config by this.
	if err := os.Setenv("DOCKER_CONFIG", folder); err != nil {
		return nil, err
	}
	found := map[string][]string{}
	for program, lookUp := range keyrings {
		for _, image := range asked.Images {
			password, err := lookUp(folder, asked.Config, image)
			if err != nil {
				return nil, fmt.Errorf("%s: %s: %w", program, image, err)
			}
			found[program] = append(found[program], password)
		}
	}
	return found, nil
}
