"""The cost of labels as a table for people, and as JSON for programs. The JSON's keys are an interface."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from resty_metrics import __version__
from resty_metrics.commands.cost.counting import FamilyCost, LabelCost, Size, total
from resty_metrics.commands.top.figures import ratio

SCHEMA = 1
FEW = 10  # families that the table shows, unless all are wanted
_FIXED = ("resty_metrics_", "process_")  # begin the names of families whose labels nobody can leave out

_HEADINGS = ("metric, and its size without a label", "values", "rows", "series", "bytes", "saves", "")
# Measured with Prometheus 2.42 (docs/scale.md); its own documentation gives the bytes of a sample on disk.
_SERIES_KIB, _SAMPLE_BYTES = 4, (1, 2)
_INTERVAL, _DAY = 15, 86_400  # seconds

Cells = tuple[str, ...]


def as_json(costs: Sequence[FamilyCost], address: str) -> str:
    """Write one object. ``costs``: in their order."""
    value = {
        "schema": SCHEMA,
        "version": __version__,
        "url": address,
        "total": {"families": len(costs), **asdict(total(costs))},
        "families": [_family(cost) for cost in costs],
    }
    return json.dumps(value, indent=2) + "\n"


def _family(cost: FamilyCost) -> dict[str, Any]:
    return {
        "name": cost.name,
        "type": cost.type,
        **asdict(cost.size),
        "labels": [
            {
                "name": label.name,
                "values": label.values,
                "without": asdict(label.without),
                "saves": asdict(label.saves),
            }
            for label in cost.labels
        ],
    }


def as_text(costs: Sequence[FamilyCost], address: str, whole: bool) -> str:
    """Write a table. ``whole``: of all families, otherwise of the first ones in which a label would save a series."""
    shown = costs if whole else [cost for cost in costs if cost.most > 0 and not cost.name.startswith(_FIXED)][:FEW]
    lines = [address, "", *_table(shown, costs)]
    return "\n".join([*lines, "", _sentence(total(costs))]) + "\n"


def _table(shown: Sequence[FamilyCost], costs: Sequence[FamilyCost]) -> list[str]:
    rows: list[Cells] = [_HEADINGS]
    for cost in shown:
        rows.append((cost.name, "", *_numbers(cost.size), "", ""))
        rows += [_label(label, cost.size) for label in cost.labels]
    rest = [cost for cost in costs if cost not in shown]
    if rest:
        words = "1 other metric" if len(rest) == 1 else f"{len(rest)} other metrics"
        rows.append((f"{words} (--all)", "", *_numbers(total(rest)), "", ""))
    rows.append(("total", "", *_numbers(total(costs)), "", ""))
    return list(_aligned(rows))


def _label(label: LabelCost, size: Size) -> Cells:
    saves = label.saves
    return (
        f"  without {label.name}",
        f"{label.values:,}",
        *_numbers(label.without),
        f"{saves.series:,}",
        ratio(saves.series / size.series),
    )


def _numbers(size: Size) -> Cells:
    return f"{size.rows:,}", f"{size.series:,}", f"{size.bytes:,}"


def _aligned(rows: Sequence[Cells]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for first, *cells in rows:
        numbers = [cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=True)]
        yield "  ".join([first.ljust(widths[0]), *numbers]).rstrip()


def _sentence(size: Size) -> str:
    """Say what Prometheus stores of a page of this size."""
    samples = size.series * (_DAY // _INTERVAL)
    least, most = (_scaled(samples * width, 1_000, ("bytes", "kB", "MB", "GB")) for width in _SAMPLE_BYTES)
    memory = _scaled(size.series * _SERIES_KIB, 1_024, ("KiB", "MiB", "GiB"))
    return (
        f"Prometheus holds each of the {size.series:,} series in memory (about {memory}, {_SERIES_KIB} KiB each) "
        f"and stores {samples:,} samples a day at a scrape every {_INTERVAL} s ({least} to {most}, 1 to 2 bytes each)."
    )


def _scaled(value: float, step: int, units: Sequence[str]) -> str:
    for unit in units[:-1]:
        if value < step:
            return f"{value:.3g} {unit}"
        value /= step
    return f"{value:.3g} {units[-1]}"
