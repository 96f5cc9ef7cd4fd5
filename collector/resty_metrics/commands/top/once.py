"""The measurements as JSON for programs. The keys are an interface, described in ``docs/top.md``."""

import json
from typing import Any

from resty_metrics import __version__
from resty_metrics.commands.top import health
from resty_metrics.commands.top.keys import State
from resty_metrics.commands.top.meter import View
from resty_metrics.commands.top.screen import Polling
from resty_metrics.commands.top.tables import table, total
from resty_metrics.commands.top.warnings import Trouble, warnings

SCHEMA = 1


def as_json(view: View, polling: Polling, state: State) -> str:
    """Write one object; numbers in seconds, bytes, and per second; null: not known."""
    shown = table(state.view, view)
    keys = [column.key for column in shown.columns]
    value = {
        "schema": SCHEMA,
        "version": __version__,
        "url": polling.address,
        "seconds": view.seconds,
        "total": {**total(view), "connections": view.connections},
        "health": [_state(word) for word in health.words(view.page)],
        "warnings": [_warning(trouble) for trouble in warnings(view, polling.socket_path)],
        "view": state.view,
        "rows": [dict(zip(keys, row, strict=True)) for row in shown.ordered(state.sort, state.reverse)],
    }
    return json.dumps(value, indent=2) + "\n"


def _state(word: health.Word) -> dict[str, Any]:
    return {"subject": word.subject, "says": word.says, "well": word.works}


def _warning(trouble: Trouble) -> dict[str, Any]:
    return {
        "seen": trouble.evidence,
        "remedy": trouble.remedy,
        "name": trouble.name,
        "severity": trouble.severity,
    }
