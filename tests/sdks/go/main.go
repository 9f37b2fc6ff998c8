// Calls GetCallerIdentity again and again with one client of the AWS SDK for Go v2.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
)

func main() {
	fmt.Println("version", aws.SDKVersion)
	pause, err := time.ParseDuration(os.Getenv("PAUSE") + "s")
	if err != nil {
		panic(err)
	}
	configuration, err := config.LoadDefaultConfig(context.Background())
	if err != nil {
		panic(err)
	}
	client := sts.NewFromConfig(configuration)
	for ; ; time.Sleep(pause) {
		_, err := client.GetCallerIdentity(context.Background(), &sts.GetCallerIdentityInput{})
		var refused smithy.APIError
		switch {
		case err == nil:
			fmt.Println("ok")
		case errors.As(err, &refused):
			fmt.Println("refused", refused.ErrorCode())
		default:
			fmt.Println("failed", strings.Join(strings.Fields(err.Error()), " "))
		}
	}
}
