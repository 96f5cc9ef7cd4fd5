"""The command ``scripts/bench``: runs the subjects, prints a table of each, and writes all figures as JSON."""

import argparse
import dataclasses
import signal
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from benchmarks import clients, figures, fleet, flush, growth, memory, merge, page, peers, requests, scrapers
from benchmarks.figures import Figure
from benchmarks.scale import FULL, QUICK, Scale

SUBJECTS: dict[str, Callable[[Scale], Iterator[Figure]]] = {
    "requests": requests.run,
    "flush": flush.run,
    "merge": merge.run,
    "page": page.run,
    "memory": memory.run,
    "scrapers": scrapers.run,
    "growth": growth.run,
    "fleet": fleet.run,
    "clients": clients.run,
}
JSON = Path("bench.json")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__.partition("\n")[0])
    parser.add_argument("--only", action="append", choices=SUBJECTS, metavar="SUBJECT", help=f"{', '.join(SUBJECTS)}")
    parser.add_argument(
        "--quick", action="store_true", help="fewer rounds, smaller tables: for a look, not for a record"
    )
    parser.add_argument("--rounds", type=int, help=f"of each comparison; {FULL.rounds} are usual")
    parser.add_argument("--before", type=Path, metavar="DIR", help="another checkout, whose hot path is measured too")
    parser.add_argument("--json", type=Path, default=JSON, metavar="FILE", help=f"where to write it; {JSON} is usual")
    parser.add_argument(
        "--markdown", type=Path, metavar="FILE", help="where to write the tables of docs/performance.md"
    )
    return parser.parse_args()


def main() -> None:
    options = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that all started processes end too
    try:
        peers.known()
    except FileNotFoundError as error:
        sys.exit(f"error: {error}")
    scale = dataclasses.replace(QUICK if options.quick else FULL, show=sys.stderr.isatty())
    if options.rounds:
        scale = dataclasses.replace(scale, rounds=options.rounds)
    where = figures.machine()
    print("{cpu}, {cpus} CPUs, kernel {kernel}, nginx {nginx}, Python {python}, load {load:.2f}".format(**where))
    if not where["quiet"]:
        print("The machine is busy: ratios hold better than figures, and neither as on a quiet one.")
    if where["cpus"] < 2:
        print("There is one CPU: what is measured and what drives it take it from each other.")
    collected: list[Figure] = []
    tables = ""
    for name in options.only or SUBJECTS:
        sys.stderr.write(f"measuring {name}\n")
        run = partial(requests.run, before=options.before) if name == "requests" else SUBJECTS[name]
        of_subject = list(run(scale))
        collected += of_subject
        scale.within(name)("")
        print(f"\n{name}\n{figures.table(of_subject)}", flush=True)
        options.json.write_text(figures.document(where, collected))
        tables += f"### {name}\n\n{figures.markdown(of_subject)}\n"
        if options.markdown:
            options.markdown.write_text(tables)
    missed = [figure.title for figure in collected if figure.reached is False]
    print(f"\n{options.json}: {len(collected)} figures, {len(missed)} short of what is to be reached")


if __name__ == "__main__":
    main()
