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
import sys
from pathlib import Path

# The tree stays as it is.
sys.dont_write_bytecode = True

from drawing import draw
from recording import ROOT, record

PICTURES = ROOT / "docs/pictures"


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
