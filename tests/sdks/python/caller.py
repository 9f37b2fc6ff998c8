"""Calls GetCallerIdentity again and again with one client of boto3."""

import os
import time

import boto3
import botocore.exceptions

print("version", boto3.__version__, flush=True)
client = boto3.client("sts")
while True:
    try:
        client.get_caller_identity()
        print("ok", flush=True)
    except botocore.exceptions.ClientError as error:
        print("refused", error.response["Error"]["Code"], flush=True)
    except Exception as error:
        print("failed", " ".join(str(error).split()), flush=True)
    time.sleep(float(os.environ["PAUSE"]))
