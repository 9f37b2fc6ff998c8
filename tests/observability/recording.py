"""The recording of refreshes in the local environment, for the picture: see picture.py."""

import contextlib
import json
import math
import os
import platform
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from datetime import datetime, timezone
from pathlib import Path

ROOT = Path(__file__).parents[2]
BIN = ROOT / "target/parts/bin"
SCRAPE_SECONDS = 5
WINDOW = "2m"
DURATION_SECONDS = 900
# Name and overlap of those that are drawn one by one. The first has the default: a third of the lifetime.
SHOWN = {"calm": 300, "brisk": 600, "busy": 780}
MANY, MANY_OVERLAP = 30, 840
LABEL = "recorded-by=picture"


def environment():
    """The variables of the local environment."""
    if not (ROOT / "target/dev/ready").exists():
        sys.exit("the local environment is not up: make up")
    found = {}
    for line in (ROOT / "target/dev/env").read_text(encoding="utf-8").splitlines():
        name, _, value = line.removeprefix("export ").partition("=")
        if name != "PATH":
            found[name] = shlex.split(value)[0]
    return found


def resources():
    def resource(name, overlap):
        spec = {"roleName": name, "secretName": name, "secretType": "Map", "durationSeconds": DURATION_SECONDS}
        if overlap != DURATION_SECONDS // 3:
            spec["refreshBeforeSeconds"] = overlap
        key, value = LABEL.split("=")
        return {
            "apiVersion": "pincette.net/v1",
            "kind": "AWSAssumeRole",
            "metadata": {"name": name, "namespace": "default", "labels": {key: value}},
            "spec": spec,
        }

    items = [resource(name, overlap) for name, overlap in SHOWN.items()]
    items += [resource(f"many-{number}", MANY_OVERLAP) for number in range(1, MANY + 1)]
    return {"apiVersion": "v1", "kind": "List", "items": items}


def kubectl(variables, *arguments, given=None):
    command = [BIN / "kubectl", *arguments]
    environ = {**os.environ, **variables}
    done = subprocess.run(command, input=given, env=environ, text=True, capture_output=True, check=False)
    if done.returncode:
        raise RuntimeError(f"kubectl {' '.join(arguments)}: {done.stderr.strip()}")


@contextlib.contextmanager
def applied(variables):
    """The resources, for as long as it lasts."""
    try:
        kubectl(variables, "apply", "-f", "-", given=json.dumps(resources()))
        yield
    finally:
        kubectl(variables, "delete", "awsassumeroles", "--namespace=default", f"--selector={LABEL}")


class Prometheus:
    """A Prometheus that reads the metrics of one target."""

    def __init__(self, target):
        self.target = target

    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="picture-")
        folder = Path(self.folder.name)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{free.getsockname()[1]}"
        self.url = f"http://{address}"
        config = {
            "global": {"scrape_interval": f"{SCRAPE_SECONDS}s", "scrape_timeout": f"{SCRAPE_SECONDS}s"},
            "scrape_configs": [
                {"job_name": "aws-assume-role", "honor_labels": True, "static_configs": [{"targets": [self.target]}]}
            ],
        }
        (folder / "prometheus.yaml").write_text(json.dumps(config), encoding="utf-8")
        command = [
            BIN / "prometheus",
            f"--config.file={folder / 'prometheus.yaml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address={address}",
            # Otherwise it looks at the target only after five seconds.
            "--scrape.discovery-reload-interval=100ms",
            "--log.level=warn",
        ]
        # In a session of its own Ctrl-C does not reach it: it is ended below.
        self.process = subprocess.Popen(command, cwd=folder, start_new_session=True)
        try:
            self.wait_for_target()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.folder.cleanup()

    def wait_for_target(self):
        end = time.monotonic() + 60
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise RuntimeError("Prometheus ended")
            with contextlib.suppress(urllib.error.URLError, ConnectionError):
                found = self.ask("query", query="up")
                if found and found[0]["value"][1] == "1":
                    return
            time.sleep(0.2)
        raise RuntimeError("Prometheus does not reach the operator")

    def ask(self, kind, **parameters):
        url = f"{self.url}/api/v1/{kind}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=30) as answer:
                return json.load(answer)["data"]["result"]
        except urllib.error.HTTPError as error:
            if error.code == 503:
                return []
            raise RuntimeError(f"{parameters}: {error.read().decode()}") from error

    def over(self, query, start, end, step, digits):
        """Per series its labels and its points [seconds since the start, value]."""
        found = self.ask("query_range", query=query, start=start, end=end, step=step)
        return [
            (
                series["metric"],
                [
                    [round(when - start), round(float(value), digits or None)]
                    for when, value in series["values"]
                    if math.isfinite(float(value))
                ],
            )
            for series in found
        ]

    def one(self, query, start, end, step, digits):
        """The points of a query that gives one series."""
        found = self.over(query, start, end, step, digits)
        return found[0][1] if found else []


def measured(prometheus, start, minutes):
    """What is drawn, and what is told about it."""
    end = start + 60 * minutes
    mine = f'namespace="default",name=~"{"|".join(SHOWN)}|many-[0-9]+"'
    expiration = f"aws_assume_role_credentials_expiration_timestamp_seconds{{{mine}}}"
    due = f"aws_assume_role_refresh_due_timestamp_seconds{{{mine}}}"
    duration = "aws_assume_role_refresh_duration_seconds"
    durations = f'{duration}_bucket{{outcome="issued"}}'
    count = "aws_assume_role_refreshes_total"

    left = prometheus.over(f"{expiration} - timestamp({expiration})", start, end, SCRAPE_SECONDS, 0)
    left = {labels["name"]: points for labels, points in left}
    overlaps = prometheus.over(f"{expiration} - {due}", start, end, SCRAPE_SECONDS, 0)
    overlaps = {labels["name"]: [value for _, value in points] for labels, points in overlaps}
    quantiles = {
        f"p{percent}": prometheus.one(
            f"1000 * histogram_quantile({percent / 100}, sum by (le) (rate({durations}[{WINDOW}])))", start, end, 10, 2
        )
        for percent in (50, 99)
    }
    # Differences of the counter itself, because increase() extrapolates.
    issued = prometheus.one(f'sum({count}{{outcome="issued"}}) or vector(0)', start, end, 60, 0)
    outcomes = prometheus.over(f"sum by (outcome) ({count})", start, end, SCRAPE_SECONDS, 0)
    buckets = prometheus.over(f"sum by (le) ({durations})", start, end, SCRAPE_SECONDS, 0)
    seconds = prometheus.one(f'sum({duration}_sum{{outcome="issued"}})', start, end, SCRAPE_SECONDS, 6)
    counts = prometheus.one(f'sum({duration}_count{{outcome="issued"}})', start, end, SCRAPE_SECONDS, 0)

    def gained(points, until=-1):
        # A series that comes up only later began with nothing.
        return points[until][1] - (points[0][1] if points[0][0] < 1 else 0)

    # The first refreshes are all at once, and rate() leaves them out where the series comes up with them: they are told apart.
    first = 0 if not counts or counts[0][0] >= 1 else 1
    later = counts[-1][1] - counts[first][1] if len(counts) > first else 0
    return {
        "recorded": datetime.fromtimestamp(start, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "how": (
            "tests/observability/picture.py record, in the local environment: the operator with a real kube-apiserver and moto for AWS on "
            f"one {platform.system()} machine; Prometheus reads its metrics every {SCRAPE_SECONDS} s; sessions of {DURATION_SECONDS} s, "
            f"durations over {WINDOW}; besides the resources that are shown {MANY} with an overlap of {MANY_OVERLAP} s"
        ),
        "minutes": minutes,
        "lifetime_seconds": DURATION_SECONDS,
        "resources": len(left),
        "left_seconds": {name: left[name] for name in SHOWN if name in left},
        "smallest_left_seconds": {
            **{name: min(value for _, value in left[name]) for name in SHOWN if name in left},
            "many": min((value for name, points in left.items() if name not in SHOWN for _, value in points), default=None),
        },
        "overlap_seconds": {name: [min(overlaps[name]), max(overlaps[name])] for name in SHOWN if name in overlaps},
        "duration_milliseconds": quantiles,
        "issued_per_minute": [
            [round(when / 60), round(after - before)]
            for (_, before), (when, after) in zip(issued, issued[1:])
        ],
        "refreshes": {labels["outcome"]: gained(points) for labels, points in outcomes if points and gained(points)},
        # The bound, how many of the first refreshes took no longer, and how many of all.
        "durations_up_to_seconds": sorted(
            ([labels["le"], gained(points, first), gained(points)] for labels, points in buckets if len(points) > first),
            key=lambda bucket: float(bucket[0].replace("+Inf", "inf")),
        ),
        "mean_milliseconds_after_the_first": round(1000 * (seconds[-1][1] - seconds[first][1]) / later, 2) if later else None,
    }


def record(minutes, out):
    variables = environment()
    target = urllib.parse.urlsplit(variables["OPERATOR_URL"]).netloc
    out.parent.mkdir(parents=True, exist_ok=True)
    # The end of a terminal, or of a job, is to clean up like Ctrl-C, also in the background, where a shell lets Ctrl-C be ignored.
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, interrupt)
    with Prometheus(target) as prometheus:
        start = math.ceil(time.time())
        # So that it has read the metrics as they are without the resources.
        time.sleep(max(0, start + 0.5 - time.time()))
        with applied(variables):
            print(f"recording for {minutes} minutes", flush=True)
            for minute in range(1, minutes + 1):
                time.sleep(max(0, start + 60 * minute + 1 - time.time()))
                data = measured(prometheus, start, minute)
                save(data, out)
                print(f"{minute} min: {data['refreshes']}, smallest time left {data['smallest_left_seconds']}", flush=True)


def interrupt(*_):
    raise KeyboardInterrupt


def save(data, out):
    """One line per entry, so that a change can be read."""
    lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(value, separators=(',', ':'))}" for name, value in data.items())
    new = out.with_suffix(".new")
    new.write_text(f"{{\n{lines}\n}}\n", encoding="utf-8")
    new.replace(out)
