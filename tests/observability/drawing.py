"""The drawing of recorded refreshes: see picture.py."""

import json
import math

from recording import SCRAPE_SECONDS, SHOWN, WINDOW

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
