"""The command ``cost`` and its flags. Nothing heavy is imported before it runs."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

import click

from resty_metrics.commands.help import Described
from resty_metrics.commands.options import PAGE_OPTIONS

if TYPE_CHECKING:
    from resty_metrics.commands.client.endpoint import Endpoint

Choose = Callable[[dict[str, Any]], "Endpoint"]

_HELP = """Show what each label costs in series, and what leaving it out would save.

Reads the page once and changes nothing. A row is a label set; a histogram has a series for each bucket, its sum and its
count in each row. "without tenant" is the metric as it would be if rows that differ in tenant alone were one: the size
that remains, and the series that go. Savings of two labels do not add up. The labels le and quantile are part of the
metric and not listed.

\b
  metric, and its size without a label  values   rows  series    bytes  saves
  nginx_http_responses_total                    3,600   3,600  367,119
    without server                          20    180     180   14,419  3,420  95.0%
    without tenant                          10    360     360   30,679  3,240  90.0%

Leave a label out in nginx (docs/scale.md), never by labeldrop in Prometheus, which would keep one of the rows and
discard the others.
"""


def add_to(group: click.Group, choose: Choose) -> None:
    """``choose``: reads the options that lead to a page, and takes them out of the options."""
    cost = Described(
        "cost",
        first=("--url", "--all", "--json"),
        examples=(
            ("resty-metrics cost", "Show the labels of this machine's collector that cost most."),
            ("resty-metrics cost --url=http://HOST:19145", "Show those of another machine's collector."),
            ("resty-metrics cost --json", "Print every metric and label for a program."),
        ),
        statuses=(("0", "It has printed."), ("1", "The page cannot be read."), ("2", "A flag is wrong.")),
        params=[
            *PAGE_OPTIONS,
            click.Option(
                ["--all", "whole"], is_flag=True, help="Show every metric, not only the ten with the most to save."
            ),
            click.Option(["--json", "as_json"], is_flag=True, help="Print JSON, with every metric."),
        ],
        callback=partial(_cost, choose),
        help=_HELP,
    )
    group.add_command(cost)


def _cost(choose: Choose, whole: bool, as_json: bool, **options: Any) -> NoReturn:
    endpoint = choose(options)
    from resty_metrics.commands.cost import session

    session.run(endpoint, as_json, whole)
