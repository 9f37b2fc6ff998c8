"""Calls GetCallerIdentity again and again with the AWS CLI, a new process each time.

The clock of this process is the machine's: LAUNCHER_OF_CALLS, if there is one, gives each call the clock that it is to live by.
"""

import os
import re
import subprocess
import sys
import time

aws = [sys.executable, os.path.join(os.path.dirname(sys.executable), "aws")]
version = subprocess.run([*aws, "--version"], capture_output=True, text=True, check=True)
print("version", version.stdout.split()[0].split("/")[1], flush=True)
launcher = os.environ.get("LAUNCHER_OF_CALLS", "").split()
while True:
    call = [*launcher, *aws, "sts", "get-caller-identity"]
    done = subprocess.run(call, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    refused = re.search(r"An error occurred \((\w+)\)", done.stderr)
    if done.returncode == 0:
        print("ok", flush=True)
    elif refused:
        print("refused", refused.group(1), flush=True)
    else:
        print("failed", " ".join(done.stderr.split()), flush=True)
    time.sleep(float(os.environ["PAUSE"]))
