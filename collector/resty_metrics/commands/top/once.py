"""The measurements as JSON for programs. The keys are an interface, described in ``docs/top.md``."""

import json
from dataclasses import asdict

from resty_metrics import __version__
from resty_metrics.commands.top import health
from resty_metrics.commands.top.keys import State
from resty_metrics.commands.top.meter import View
from resty_metrics.commands.top.screen import Told
from resty_metrics.commands.top.tables import table, total
from resty_metrics.commands.top.warnings import warnings

SCHEMA = 1


def as_json(view: View, told: Told, state: State) -> str:
    """Write one object; numbers in seconds, bytes, and per second; null: not known."""
    shown = table(state.view, view)
    keys = [one.key for one in shown.columns]
    value = {
        "schema": SCHEMA,
        "version": __version__,
        "url": told.address,
        "seconds": view.seconds,
        "total": {**total(view), "connections": view.connections},
        "health": [asdict(one) for one in health.words(view.page)],
        "warnings": [asdict(one) for one in warnings(view)],
        "view": state.view,
        "rows": [dict(zip(keys, row, strict=True)) for row in shown.ordered(state.sort, state.reverse)],
    }
    return json.dumps(value, indent=2) + "\n"
