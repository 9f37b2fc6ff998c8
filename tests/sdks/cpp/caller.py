"""Calls HeadBucket again and again with one client of the AWS SDK for C++, which pyarrow is built with and uses for S3 only."""

import os
import time

import pyarrow
from pyarrow.fs import AwsStandardS3RetryStrategy, FileType, S3FileSystem

print("version", f"pyarrow {pyarrow.__version__}", flush=True)
files = S3FileSystem(
    scheme="http",
    endpoint_override=os.environ["AWS_ENDPOINT_URL_S3"].removeprefix("http://"),
    region=os.environ["AWS_REGION"],
    retry_strategy=AwsStandardS3RetryStrategy(max_attempts=1),
)
while True:
    try:
        found = files.get_file_info("bucket").type == FileType.Directory
        print("ok" if found else "failed there is no bucket", flush=True)
    except OSError as error:
        text = " ".join(str(error).split())
        print("refused" if "AWS Error" in text else "failed", text, flush=True)
    time.sleep(float(os.environ["PAUSE"]))
