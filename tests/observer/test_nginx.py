"""The looks at each nginx: all that are known now, and no other."""

import os

from resty_metrics.health.facts import NginxFacts
from resty_metrics.ingest.beats import GAUGES_SECONDS
from resty_metrics.ingest.senders import SILENT_SECONDS, Senders
from resty_metrics.observer.nginx import NginxLooks
from resty_metrics.sources.stub_status import StubStatus
from resty_metrics.table.table import Table
from resty_metrics.wire.datagram import VERSION, Header, Kind
from resty_metrics.wire.heartbeat import Heartbeat, Master

NAMES = 200


def beat(senders: Senders, name: str, now: float) -> None:
    header = Header(VERSION, Kind.HEARTBEAT, os.urandom(16), 1, 1, 1)
    senders.beat(header, Heartbeat(instance=name, worker=0, master=Master(1, 1)), now)


def fetch(senders: Senders, table: Table, name: str = "") -> NginxFacts | None:
    """The facts of an nginx that is fetched for a minute, of 10 requests a second."""
    looks, facts = NginxLooks(lambda _: None), None
    for now in range(0, 61, 5):
        status = StubStatus(0, 0, now * 10, 1, 0, 0, 0)
        found = looks.look(senders, table, {name: (float(now), status)}, {}, float(now))
        facts = next((nginx for nginx in found if nginx.name == name), None)
    return facts


def test_names_that_come_later_are_judged_and_those_that_went_are_forgotten() -> None:
    senders, looks = Senders(), NginxLooks(lambda _: None)
    for number in range(NAMES):
        now = number * SILENT_SECONDS
        senders.prune(now)
        beat(senders, f"n{number}", now)
        (facts,) = looks.look(senders, Table(), {}, {}, now + GAUGES_SECONDS + 1)
        assert (facts.name, facts.missing) == (f"n{number}", 1)


def test_requests_of_an_nginx_that_is_only_fetched() -> None:
    """Its workers cannot reach the socket; that Lua is wanted is known from another name."""
    senders = Senders()
    assert fetch(senders, Table()) is None, "stub_status alone is wanted"
    beat(senders, "edge", 0.0)
    facts = fetch(senders, Table())
    assert facts is not None
    assert (facts.uncounted, facts.uncounted_seconds) == (10.0, 60.0)
