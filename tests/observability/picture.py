#!/usr/bin/env python3
"""Records how the operator refreshes credentials in the local environment, and draws a picture of it for the documentation.

    picture.py record [--minutes 24] [--out docs/pictures/refreshes.json]
    picture.py draw [--data docs/pictures/refreshes.json] [--out docs/pictures/refreshes.svg]

`record` needs the local environment, with its operator (make up). It starts a Prometheus, which reads the
operator's metrics every five seconds, and makes resources of its own in the namespace default: three that are drawn one by one, with short
and long overlaps, and many that are refreshed every minute, so that there are enough durations. Every minute it writes what it has by then.
In the end, and also when it is interrupted, it deletes the resources and ends the Prometheus. The environment, and the machine, should have
nothing else to do meanwhile, because the durations and the numbers are those of the whole operator.

`draw` makes an SVG of the data, and prints the figures in it. The same data give the same file.
"""

import argparse
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
PICTURES = ROOT / "docs/pictures"
BIN = ROOT / "target/parts/bin"
SCRAPE_SECONDS = 5
WINDOW = "2m"
DURATION_SECONDS = 900
# Name and overlap of those that are drawn one by one. The first has the default: a third of the lifetime.
SHOWN = {"calm": 300, "brisk": 600, "busy": 780}
MANY, MANY_OVERLAP = 30, 840
LABEL = "recorded-by=picture"


# Recording


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


# Drawing

WIDTH, HEIGHT = 900, 624
LEFT, RIGHT = 66, 742
COLOURS = {"calm": "#0072b2", "brisk": "#d55e00", "busy": "#00805c", "p50": "#444444", "p99": "#8e3a9d"}
TEXT, FAINT, GRID, BARS = "#222222", "#5f6670", "#e4e7eb", "#a9b8c9"


def number(value):
    """A coordinate, short."""
    return f"{value:.1f}".removesuffix(".0")


def text(x, y, words, size=12, colour=TEXT, anchor="start", bold=False, turned=False):
    more = ' font-weight="bold"' if bold else ""
    more += f' transform="rotate(-90 {number(x)} {number(y)})"' if turned else ""
    words = words.replace("&", "&amp;").replace("<", "&lt;")
    return (
        f'<text x="{number(x)}" y="{number(y)}" font-size="{size}" fill="{colour}" text-anchor="{anchor}"{more}>{words}</text>'
    )


def line(x1, y1, x2, y2, colour, width=1.0, dashes=""):
    more = f' stroke-dasharray="{dashes}"' if dashes else ""
    return (
        f'<line x1="{number(x1)}" y1="{number(y1)}" x2="{number(x2)}" y2="{number(y2)}" stroke="{colour}" '
        f'stroke-width="{number(width)}"{more}/>'
    )


def spread(places, distance, lowest):
    """The places, in their order, moved up to the lowest one that is allowed, and where they are closer than the distance."""
    moved = {}
    last = lowest + distance
    for name, place in sorted(places.items(), key=lambda item: -item[1]):
        last = moved[name] = min(place, last - distance)
    return moved


def ticks(highest, wanted):
    """Round numbers from 0 to at least the highest, about so many."""
    step = 10 ** math.floor(math.log10(max(highest, 1) / wanted))
    step *= next(factor for factor in (1, 2, 5, 10) if step * factor * wanted >= highest)
    return [step * index for index in range(math.ceil(highest / step) + 1)]


class Panel:
    """A part of the picture with axes of its own: minutes to the right, something else upward."""

    def __init__(self, top, bottom, minutes, steps):
        self.top, self.bottom, self.minutes, self.steps = top, bottom, minutes, steps

    def x(self, minute):
        return LEFT + (RIGHT - LEFT) * minute / self.minutes

    def y(self, value):
        return self.bottom - (self.bottom - self.top) * value / self.steps[-1]

    def axes(self, name):
        for step in self.steps:
            yield line(LEFT, self.y(step), RIGHT, self.y(step), GRID)
            yield text(LEFT - 8, self.y(step) + 4, f"{step:g}", 11, FAINT, "end")
        yield text(22, (self.top + self.bottom) / 2, name, 12, TEXT, "middle", turned=True)

    def curve(self, points, colour, width):
        places = " ".join(f"{number(self.x(minute))},{number(self.y(value))}" for minute, value in points)
        return f'<polyline points="{places}" fill="none" stroke="{colour}" stroke-width="{width}" stroke-linejoin="round"/>'


def corners(points):
    """Without the points that lie on the line between their neighbours, to the second."""
    kept = points[:1]
    for before, here, after in zip(points, points[1:], points[2:]):
        bend = (after[1] - here[1]) * (here[0] - before[0]) - (here[1] - before[1]) * (after[0] - here[0])
        if abs(bend) > 2 * (after[0] - before[0]):
            kept.append(here)
    return kept + points[1:][-1:]


def later(data):
    """The buckets of the durations after the first refreshes."""
    return [(float(bound.replace("+Inf", "inf")), total - first) for bound, first, total in data["durations_up_to_seconds"]]


def within(bounds):
    """In how many seconds all of a histogram were done, as far as it tells."""
    return next(bound for bound, count in bounds if count == bounds[-1][1])


def quantile(bounds, part):
    """As Prometheus reckons it from a histogram, in seconds."""
    rank = part * bounds[-1][1]
    lower, below = 0.0, 0
    for bound, count in bounds:
        if count >= rank:
            return lower if math.isinf(bound) else lower + (bound - lower) * (rank - below) / max(count - below, 1)
        lower, below = bound, count
    return lower


def minutes_and_seconds(seconds):
    return f"{seconds // 60:.0f} min {seconds % 60:.0f} s"


def figures(data):
    """What the picture says in words."""
    issued = data["refreshes"].get("issued", 0)
    failed = sum(data["refreshes"].get(outcome, 0) for outcome in ("failed", "aborted", "panicked"))
    least = min(value for value in data["smallest_left_seconds"].values() if value is not None)
    return issued, failed, least


def picture(data):
    minutes = data["minutes"]
    issued, failed, least = figures(data)
    said = (
        f"{issued} refreshes of {data['resources']} resources in {minutes} min, {failed or 'none'} failed. "
        f"Each session lasts {data['lifetime_seconds'] // 60} min."
    )
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="Helvetica, Arial, sans-serif" role="img" aria-labelledby="title desc">'
    )
    yield '<title id="title">Credentials are replaced long before they end</title>'
    yield f'<desc id="desc">{said} The smallest time left was {minutes_and_seconds(least)}.</desc>'
    # Its own background, because the page behind it may be dark.
    yield f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>'
    yield text(20, 30, "Credentials are replaced long before they end", 18, TEXT, bold=True)
    yield text(20, 50, said, 13, FAINT)

    left = Panel(76, 326, minutes, [0, 3, 6, 9, 12, 15])
    durations = [point[1] for points in data["duration_milliseconds"].values() for point in points]
    took = Panel(362, 452, minutes, ticks(max(durations, default=1), 4))
    count = Panel(488, 538, minutes, ticks(max((refreshes for _, refreshes in data["issued_per_minute"]), default=1), 3))
    yield from drawn_left(left, data, least)
    yield from drawn_durations(took, data)
    yield from drawn_counts(count, data)

    for minute in range(0, minutes + 1, 2):
        yield text(count.x(minute), 554, f"{minute}", 11, FAINT, "middle")
    yield text((LEFT + RIGHT) / 2, 572, "minutes since the resources were made", 12, TEXT, "middle")
    day = data["recorded"][:10]
    firsts = [(float(bound.replace("+Inf", "inf")), first) for bound, first, _ in data["durations_up_to_seconds"]]
    notes = (
        f"p50 and p99 leave out the first {firsts[-1][1]} refreshes, which were all at once and took up to {within(firsts):g} s. "
        f"They are from a histogram, the lines over {WINDOW.removesuffix('m')} min.",
        f"Recorded on {day} in the local environment, where moto stands for AWS, by tests/observability/picture.py: a reading every "
        f"{SCRAPE_SECONDS} s.",
    )
    for index, note in enumerate(notes):
        yield text(20, 596 + 15 * index, note, 11, FAINT)
    yield "</svg>"


def drawn_left(panel, data, least):
    yield from panel.axes("time left, minutes")
    zero = panel.y(0)
    yield line(LEFT, zero, RIGHT, zero, "#c00000", 1.5)
    yield text(RIGHT + 8, zero + 4, "the credentials end", 12, "#c00000")
    for name in reversed(data["left_seconds"]):
        overlap = SHOWN[name] / 60
        yield line(LEFT, panel.y(overlap), RIGHT, panel.y(overlap), COLOURS[name], 1, "3 4")
    for name, points in data["left_seconds"].items():
        corner = [(second / 60, value / 60) for second, value in corners(points)]
        yield panel.curve(corner, COLOURS[name], 1.8)
        overlap = SHOWN[name] / 60
        yield text(RIGHT + 8, panel.y(overlap) - 3, name, 13, COLOURS[name], bold=True)
        yield text(RIGHT + 8, panel.y(overlap) + 11, f"due at {overlap:g} min left", 11, COLOURS[name])
    yield text(
        (LEFT + RIGHT) / 2,
        panel.y(2),
        f"The smallest time left, of all {data['resources']}: {minutes_and_seconds(least)}",
        13,
        TEXT,
        "middle",
    )


def drawn_durations(panel, data):
    yield from panel.axes("refresh, ms")
    curves = {name: points for name, points in data["duration_milliseconds"].items() if points}
    places = spread({name: panel.y(points[-1][1]) + 4 for name, points in curves.items()}, 30, panel.bottom - 10)
    for name, points in curves.items():
        yield panel.curve([(second / 60, value) for second, value in points], COLOURS[name], 1.8)
        whole = 1000 * quantile(later(data), int(name[1:]) / 100)
        yield text(RIGHT + 8, places[name], name, 13, COLOURS[name], bold=True)
        yield text(RIGHT + 8, places[name] + 13, f"over the whole run {whole:.0f} ms", 11, COLOURS[name])


def drawn_counts(panel, data):
    yield from panel.axes("per min")
    width = panel.x(1) - panel.x(0)
    for minute, number_of in data["issued_per_minute"]:
        top = panel.y(number_of)
        yield (
            f'<rect x="{number(panel.x(minute - 1) + 2)}" y="{number(top)}" width="{number(width - 4)}" '
            f'height="{number(panel.bottom - top)}" fill="{BARS}"/>'
        )
    yield text(RIGHT + 8, (panel.top + panel.bottom) / 2 + 4, "refreshes per minute", 12, FAINT, bold=True)


def draw(source, out):
    data = json.loads(source.read_text(encoding="utf-8"))
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text("\n".join(picture(data)) + "\n", encoding="utf-8")
    issued, failed, least = figures(data)
    p50, p99 = (1000 * quantile(later(data), part) for part in (0.5, 0.99))
    print(
        f"{out}: {data['minutes']} min, {issued} refreshes of {data['resources']} resources, {failed} failed; smallest time left "
        f"{minutes_and_seconds(least)}; after the first, all at once, they took {p50:.0f} ms (p50), {p99:.0f} ms (p99), "
        f"{data['mean_milliseconds_after_the_first']:.0f} ms (mean), all within {1000 * within(later(data)):g} ms"
    )


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = arguments.add_subparsers(dest="command", required=True)
    recording = commands.add_parser("record", help="record it in the local environment")
    recording.add_argument("--minutes", type=int, default=24, help="for how long, 24 by default")
    recording.add_argument("--out", type=Path, default=PICTURES / "refreshes.json", help="the file for the data")
    drawing = commands.add_parser("draw", help="draw what was recorded")
    drawing.add_argument("--data", type=Path, default=PICTURES / "refreshes.json", help="the file with the data")
    drawing.add_argument("--out", type=Path, default=PICTURES / "refreshes.svg", help="the file for the picture")
    given = arguments.parse_args()

    try:
        if given.command == "record":
            record(given.minutes, given.out)
        else:
            draw(given.data, given.out)
    except (OSError, ValueError, RuntimeError) as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit("interrupted")


if __name__ == "__main__":
    main()
