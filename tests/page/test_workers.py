"""What heartbeats become on the page."""

from dataclasses import replace

from resty_metrics.exposition.text import render
from resty_metrics.ingest.sender import LiveHeartbeat
from resty_metrics.page import workers
from resty_metrics.sources.stub_status import StubStatus
from resty_metrics.wire.heartbeat import Heartbeat, Master, NginxCounters, WorkerGauges

OLD, NEW = Master(pid=1, birth=100), Master(pid=1, birth=200)


def beat(last_seen: float, recent: bool = True, **values: object) -> LiveHeartbeat:
    heartbeat = Heartbeat(**values)  # type: ignore[arg-type]
    return LiveHeartbeat(sender=b"s" * 16, birth_ms=0, last_seen=last_seen, heartbeat=heartbeat, recent=recent)


def lines(*beats: LiveHeartbeat) -> list[str]:
    page = render(workers.families(list(beats)), openmetrics=False).decode()
    return [line for line in page.splitlines() if not line.startswith("#")]


def test_nobody_says_nothing() -> None:
    assert lines() == []
    assert workers.stub_status([]) is None
    assert workers.newest_master([]) is None


def test_gauges_of_workers_with_one_id_are_added_up_but_for_the_uptime() -> None:
    """A reload, and another: two old workers 0 still end their requests."""
    rendered = lines(
        beat(1, worker=0, gauges=WorkerGauges(unacked_batches=3, rows=1, uptime_seconds=70)),
        replace(beat(0, worker=0, gauges=WorkerGauges(unacked_batches=0, uptime_seconds=90)), held=True),
        beat(2, worker=0, gauges=WorkerGauges(unacked_batches=1, uptime_seconds=5)),
        beat(2, worker=1, gauges=WorkerGauges(unacked_batches=0)),
    )
    assert 'resty_metrics_worker_unacked_batches{worker="0"} 4' in rendered
    assert 'resty_metrics_worker_uptime_seconds{worker="0"} 90' in rendered
    assert 'resty_metrics_worker_unacked_batches{worker="1"} 0' in rendered
    assert 'resty_metrics_worker_rows{worker="0"} 1' in rendered
    assert not any(line.startswith('resty_metrics_worker_rows{worker="1"}') for line in rendered)


def counters(requests: int | None) -> NginxCounters:
    return NginxCounters(accepted=1, handled=1, requests=requests, active=1, reading=0, writing=1, waiting=0)


def test_nginx_is_its_newest_master_at_its_newest_beat() -> None:
    beats = [
        beat(9, master=OLD, nginx=counters(900), worker=0),
        beat(3, master=NEW, nginx=counters(10), worker=0),
        beat(5, master=NEW, nginx=counters(30), worker=1),
    ]
    assert workers.stub_status(beats) == StubStatus(1, 1, 30, 1, 0, 1, 0)
    assert workers.newest_master(beats) == "1-200"
    assert workers.requests_begun(beats) == {"1-100": 900, "1-200": 30}


def test_a_worker_that_leaves_speaks_for_itself_alone() -> None:
    """Its beat may be hours old: what it says of nginx held then."""
    values = {
        "master": NEW,
        "nginx": counters(30),
        "worker": 3,
        "workers": 4,
        "generation": 2,
        "dicts": (("d", 2.0, 1.0),),
    }
    beats = [replace(beat(9, True, **values, gauges=WorkerGauges(rows=7)), held=True)]
    assert workers.stub_status(beats) is None
    assert workers.newest_master(beats) is None
    assert workers.requests_begun(beats) == {}
    assert lines(*beats) == ['resty_metrics_worker_rows{worker="3"} 7']


def test_a_number_that_is_missing_makes_no_stub_status() -> None:
    assert workers.stub_status([beat(1, master=NEW, nginx=counters(None))]) is None
    assert workers.stub_status([beat(1, master=NEW)]) is None
    assert workers.stub_status([beat(1, nginx=counters(1))]) is None


def test_one_recent_beat_is_enough_for_stub_status() -> None:
    silent = beat(1, recent=False, master=NEW, nginx=counters(10), worker=0)
    assert workers.stub_status([silent]) is None
    recent = beat(5, master=NEW, nginx=counters(30), worker=1)
    assert workers.stub_status([silent, recent]) == StubStatus(1, 1, 30, 1, 0, 1, 0)


def test_a_silent_newest_master_gives_way_to_one_that_is_heard() -> None:
    """After a binary upgrade whose new master was killed."""
    beats = [
        beat(3, recent=False, master=NEW, nginx=counters(10), worker=0),
        beat(9, master=OLD, nginx=counters(900), worker=0),
    ]
    assert workers.stub_status(beats) == StubStatus(1, 1, 900, 1, 0, 1, 0)


def test_gauges_of_a_worker_outlive_the_proof_that_nginx_is_up() -> None:
    """Three beats, not two: one that is late makes no gap in a graph."""
    rendered = lines(beat(1, recent=False, master=NEW, worker=0, workers=2, gauges=WorkerGauges(rows=7)))
    assert {'resty_metrics_worker_rows{worker="0"} 7', "resty_metrics_workers_seen 1"} <= set(rendered)


def test_workers_expected_and_seen_are_those_of_the_newest_master() -> None:
    rendered = lines(
        beat(1, master=OLD, worker=0, workers=8),
        beat(1, master=OLD, worker=5, workers=8),
        beat(2, master=NEW, worker=0, workers=4),
        beat(3, master=NEW, worker=0, workers=4),
    )
    assert "resty_metrics_workers_expected 4" in rendered
    assert "resty_metrics_workers_seen 1" in rendered


def test_versions_of_the_module() -> None:
    rendered = lines(beat(1, module="0.1.0"), beat(1, module="0.2.0"), beat(1, module="0.1.0"))
    assert [line for line in rendered if "lua_info" in line] == [
        'resty_metrics_lua_info{version="0.1.0"} 1',
        'resty_metrics_lua_info{version="0.2.0"} 1',
    ]


def test_gauges_as_they_stand_on_the_page() -> None:
    gauges = WorkerGauges(
        lua_memory_bytes=1024.5, unacked_batches=1, unacked_bytes=200, timers_pending=3, timers_running=0, rows=7
    )
    assert lines(beat(1, worker=2, gauges=gauges)) == [
        'resty_metrics_worker_lua_memory_bytes{worker="2"} 1024.5',
        'resty_metrics_worker_unacked_batches{worker="2"} 1',
        'resty_metrics_worker_unacked_bytes{worker="2"} 200',
        'resty_metrics_worker_timers{worker="2",state="pending"} 3',
        'resty_metrics_worker_timers{worker="2",state="running"} 0',
        'resty_metrics_worker_rows{worker="2"} 7',
    ]


def test_uptime_of_a_worker() -> None:
    rendered = lines(beat(1, worker=2, gauges=WorkerGauges(uptime_seconds=1.5)))
    assert rendered == ['resty_metrics_worker_uptime_seconds{worker="2"} 1.5']


def test_dictionaries_are_those_of_the_newest_master() -> None:
    rendered = lines(
        beat(9, master=OLD, dicts=(("gone", 10, 1),)),
        beat(5, master=NEW),
        beat(4, master=NEW, dicts=(('a"b', 1_048_576, 0), ("", 8, 4))),
        beat(3, master=NEW, dicts=(("before", 10, 1),)),
    )
    assert rendered == [
        'resty_metrics_shared_dict_capacity_bytes{dict="a\\"b"} 1048576',
        'resty_metrics_shared_dict_capacity_bytes{dict="_"} 8',
        'resty_metrics_shared_dict_free_bytes{dict="a\\"b"} 0',
        'resty_metrics_shared_dict_free_bytes{dict="_"} 4',
    ]


def test_the_configuration_is_that_of_the_last_reload() -> None:
    """During a reload a worker of before still beats, perhaps later."""
    rendered = lines(
        beat(9, master=OLD, generation=70, configured=9_000_000),
        beat(3, master=NEW, generation=3, configured=1_700_000_000_250),
        beat(5, master=NEW, generation=2, configured=1_600_000_000_000),
        beat(6, master=NEW),
    )
    assert rendered == [
        "resty_metrics_nginx_reload_generation 3",
        "resty_metrics_nginx_last_reload_timestamp_seconds 1700000000.25",
    ]


def test_a_time_of_reload_that_is_not_known_is_absent() -> None:
    assert lines(beat(1, master=NEW, generation=1)) == ["resty_metrics_nginx_reload_generation 1"]
    assert lines(beat(1, master=NEW, configured=5)) == []


def test_a_worker_without_an_id_has_no_gauges() -> None:
    assert lines(beat(1, gauges=WorkerGauges(rows=7))) == []


def test_requests_begun_are_of_each_master() -> None:
    rendered = lines(beat(9, master=OLD, nginx=counters(900)), beat(3, master=NEW, nginx=counters(10)))
    assert rendered == [
        'resty_metrics_requests_begun_total{master="1-200"} 10',
        'resty_metrics_requests_begun_total{master="1-100"} 900',
    ]


def test_a_master_whose_birth_is_not_known_is_never_the_newest() -> None:
    beats = [beat(9, master=Master(pid=7), nginx=counters(7), worker=0, workers=9)]
    assert workers.newest_master(beats) is None
    assert workers.stub_status(beats) is None
    assert not any("workers_" in line for line in lines(*beats))
    assert workers.newest_master([*beats, beat(1, master=OLD)]) == "1-100"


def test_stub_status_is_the_newest_beat_that_says_it_whole() -> None:
    beats = [beat(5, master=NEW, nginx=counters(None)), beat(4, master=NEW), beat(3, master=NEW, nginx=counters(30))]
    status = workers.stub_status(beats)
    assert status is not None
    assert status.requests == 30
