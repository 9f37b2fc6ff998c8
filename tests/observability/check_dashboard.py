#!/usr/bin/env python3
"""Checks the structure of the Grafana dashboard, and ends with an error that says what is wrong.

With --queries it prints all queries of the panels as JSON, with the dashboard's variables filled in: a list of objects with the title of the
panel, the refId of the query and the query itself, in the form Prometheus takes. Whether they give an answer is tried out by whoever asks.
"""

import argparse
import json
import re
import sys
from pathlib import Path

DASHBOARD = Path(__file__).parents[2] / "charts/aws-assume-role/files/dashboard.json"
COLUMNS = 24
VARIABLE = re.compile(r"\$(?:\{(\w+)(?::\w+)?\}|(\w+))")
WINDOW = re.compile(r"\[([^\]]*)\]")
FILTERS = {"namespace", "name"}


def problems(dashboard):
    """What is wrong, one sentence each."""
    for field in ("title", "uid"):
        if not isinstance(dashboard.get(field), str) or not dashboard[field]:
            yield f"the dashboard has no {field}"
    if not isinstance(dashboard.get("schemaVersion"), int):
        yield "the dashboard has no schemaVersion"
    if dashboard.get("id") is not None:
        yield "the dashboard has an id of its own, which Grafana gives: it must be null"
    yield from problems_of_variables(dashboard.get("templating", {}).get("list", []))

    panels = dashboard.get("panels", [])
    if not any(panel.get("type") != "row" for panel in panels):
        yield "the dashboard has no panels"
    ids, titles = {}, set()
    for panel in panels:
        title = panel.get("title")
        if not isinstance(title, str) or not title:
            yield f"a panel has no title: id {panel.get('id')}"
        if title in titles:
            yield f"two panels have the title {title!r}"
        titles.add(title)
        number = panel.get("id")
        if not isinstance(number, int):
            yield f"{title!r} has no id"
        elif number in ids:
            yield f"{title!r} and {ids[number]!r} have the id {number}"
        ids[number] = title
        if panel.get("type") == "row":
            if panel.get("panels"):
                yield f"the row {title!r} hides panels, which are not looked at here: leave it open"
        else:
            yield from problems_of_queries(panel)
    yield from problems_of_places(panels)


def problems_of_variables(variables):
    found = {variable.get("name"): variable for variable in variables}
    source = found.get("datasource", {})
    if (source.get("type"), source.get("query")) != ("datasource", "prometheus"):
        yield "there is no variable datasource of the type prometheus"
    for name in sorted(FILTERS):
        variable = found.get(name, {})
        if variable.get("type") != "query" or not str(variable.get("definition", "")).startswith(
            "label_values(aws_assume_role_credentials_valid"
        ):
            yield f"there is no variable {name} with the values of that label of aws_assume_role_credentials_valid"
        elif variable.get("datasource", {}).get("uid") != "${datasource}":
            yield f"the variable {name} does not use the chosen data source"
        elif (variable.get("includeAll"), variable.get("allValue")) != (True, ".*"):
            yield f"the variable {name} has no choice of all, with the value .*"


def problems_of_queries(panel):
    title = panel.get("title")
    if not panel.get("type"):
        yield f"{title!r} has no type"
    targets = panel.get("targets", [])
    if not targets:
        yield f"{title!r} has no queries"
    for source in [panel, *targets]:
        if source.get("datasource") != {"type": "prometheus", "uid": "${datasource}"}:
            yield f"{title!r} does not use the chosen data source"
            break
    letters = [target.get("refId") for target in targets]
    if not all(letters) or len(set(letters)) < len(letters):
        yield f"{title!r} has queries without a refId of their own: {letters}"
    for target in targets:
        expr = target.get("expr")
        if not isinstance(expr, str) or not expr.strip():
            yield f"{title!r} has a query without expr: {target.get('refId')}"
            continue
        for window in WINDOW.findall(expr):
            if window != "$__rate_interval":
                yield f"{title!r} has the window [{window}], which does not follow the zoom: use $__rate_interval"
        for braced, bare in VARIABLE.findall(expr):
            if (braced or bare) not in FILTERS | {"__rate_interval"}:
                yield f"{title!r} uses the variable {braced or bare}, which there is not"
        for selector in re.findall(r"\{([^}]*)\}", VARIABLE.sub("", expr)):
            for label in re.findall(r"(\w+)\s*=(?!~)", selector):
                if label in FILTERS:
                    yield f"{title!r} compares {label} with =, which fails for several: use =~"


def problems_of_places(panels):
    taken = {}
    for panel in panels:
        title, place = panel.get("title"), panel.get("gridPos", {})
        x, y, w, h = (place.get(side) for side in "xywh")
        if not all(isinstance(side, int) for side in (x, y, w, h)):
            yield f"{title!r} has no place: gridPos needs x, y, w and h"
            continue
        if x < 0 or y < 0 or w < 1 or h < 1 or x + w > COLUMNS:
            yield f"{title!r} does not fit into the {COLUMNS} columns: {place}"
            continue
        covered = {taken[cell] for cell in cells(x, y, w, h) if cell in taken}
        for other in sorted(covered):
            yield f"{title!r} covers {other!r}"
        taken.update(dict.fromkeys(cells(x, y, w, h), title))


def cells(x, y, w, h):
    return [(column, row) for column in range(x, x + w) for row in range(y, y + h)]


def queries(dashboard, rate_interval):
    """All queries of the panels, with the variables filled in."""
    values = {"namespace": ".*", "name": ".*", "__rate_interval": rate_interval}
    return [
        {
            "title": panel["title"],
            "refId": target["refId"],
            "expr": VARIABLE.sub(lambda found: values[found[1] or found[2]], target["expr"]),
        }
        for panel in dashboard["panels"]
        for target in panel.get("targets", [])
    ]


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("dashboard", nargs="?", type=Path, default=DASHBOARD, help="the file, that of the chart by default")
    arguments.add_argument("--queries", action="store_true", help="print the queries")
    arguments.add_argument("--rate-interval", default="1m", help="what $__rate_interval stands for in the queries, 1m by default")
    given = arguments.parse_args()

    try:
        dashboard = json.loads(given.dashboard.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        sys.exit(f"{given.dashboard}: {error}")
    if not isinstance(dashboard, dict):
        sys.exit(f"{given.dashboard} holds no dashboard")
    found = list(problems(dashboard))
    if found:
        sys.exit("\n".join(f"{given.dashboard}: {problem}" for problem in found))
    if given.queries:
        print(json.dumps(queries(dashboard, given.rate_interval), indent=2))
    else:
        count = sum(panel["type"] != "row" for panel in dashboard["panels"])
        print(f"{given.dashboard}: {count} panels with {len(queries(dashboard, '1m'))} queries are in order")


if __name__ == "__main__":
    main()
