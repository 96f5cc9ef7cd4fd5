"""lifecycle.conf and the optional files: what install adds, names, keeps at an upgrade, and takes away again."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from resty_metrics.commands.install import manifest, plan, removal
from resty_metrics.commands.install.facts import Facts
from resty_metrics.commands.install.manifest import Added, Manifest
from resty_metrics.commands.install.refused import RefusedError
from resty_metrics.nginx_config.dump import read
from resty_metrics.process.command_line import DEFAULT_SOCKET
from support.collector import Collector
from support.debian import Debian, run
from support.wait import wait_until

MAIN, SNIPPET = "/n/nginx.conf", "/n/conf.d/resty-metrics.conf"
HEADER = "# Written by resty-metrics install; resty-metrics uninstall removes it.\n"
HOOK = "include /s/nginx.conf.d/resty-metrics.conf;\n"
LIFECYCLE = "include /s/nginx.conf.d/lifecycle.conf;\n"
UPSTREAMS = "include /s/nginx.conf.d/upstreams.conf;\n"
VTS = "include /s/nginx.conf.d/vts.conf;\n"
ALL = frozenset({"lifecycle", "upstreams", "stub-status", "vts"})
SHIPPED = {
    "resty-metrics.conf": "lua_shared_dict resty_metrics_spool 8m;\nlog_by_lua_file /s/lua/resty/metrics/hook.lua;\n",
    "lifecycle.conf": 'init_worker_by_lua_block { dofile("/s/lua/resty/metrics/load.lua").init_worker {} }\n',
    "upstreams.conf": "map $upstream_status $rm_attempts { default x; }\n",
}


def opened(files: dict[str, str]) -> dict[str, str]:
    """The files that nginx -T shows, in its order: each file that ours are included in, then the included ones."""
    dump: dict[str, str] = {MAIN: files[MAIN]}

    def follow(text: str) -> None:
        for name in re.findall(r"include /s/nginx\.conf\.d/(\S+);", text):
            dump.setdefault(f"/s/nginx.conf.d/{name}", SHIPPED.get(name, ""))

    follow(files[MAIN])
    for path in sorted(files.keys() - {MAIN}):
        dump[path] = files[path]
        follow(files[path])
    return dump


def facts(http: str = "", before: str | None = None, socket_path: str = DEFAULT_SOCKET, conf_d: str = "") -> Facts:
    """``http``: before the include of conf.d; ``before``: our snippet, as an earlier install wrote it."""
    main = f"events {{}}\nhttp {{\n{http}\ninclude conf.d/*.conf;\nserver {{ listen 80; }}\n}}\n"
    files = {MAIN: main, "/n/conf.d/a.conf": conf_d, **({} if before is None else {SNIPPET: before})}
    written = None if before is None else Manifest("0.0.9", {}, (Added(MAIN, SNIPPET, before, whole_file=True),))
    return Facts(
        label="nginx", prefix="/n", modules="/m", lua=True, users=(), texts={}, socket_path=socket_path, share="/s",
        configuration=read("".join(f"# configuration file {path}:\n{text}\n" for path, text in opened(files).items())),
        ours=None, present={} if written is None else {manifest.NAME: manifest.write(written)}, manifest=written,
        snippets={SNIPPET: None if before is None else before.encode()}, http_file=main.encode(), unreadable=None,
        unread=(), able=ALL,
    )  # fmt: skip


def snippet(seen: Facts, *asked: str) -> str | None:
    """What becomes of our file; None: it stays."""
    made = plan.make(seen, frozenset(asked)).configuration
    return None if not made else (made[0].after or b"").decode()


def test_lifecycle_goes_along_where_nothing_else_uses_its_directive() -> None:
    assert snippet(facts()) == HEADER + HOOK + LIFECYCLE


def test_another_socket_or_a_name_is_in_the_call() -> None:
    geo = "geo $resty_metrics_socket { default /run/x.sock; }\n"
    call = 'init_worker_by_lua_block {{ dofile("/s/lua/resty/metrics/load.lua").init_worker {{ {} }} }}\n'
    assert snippet(facts(socket_path="/run/x.sock")) == HEADER + HOOK + geo + call.format('socket = "/run/x.sock"')
    named = facts(http="geo $resty_metrics_nginx { default edge-1; }")
    assert snippet(named) == HEADER + HOOK + call.format(f'socket = "{DEFAULT_SOCKET}", nginx = "edge-1"')
    assert snippet(facts(before=snippet(named), http="geo $resty_metrics_nginx { default edge-2; }")) == (
        HEADER + HOOK + call.format(f'socket = "{DEFAULT_SOCKET}", nginx = "edge-2"')
    )


@pytest.mark.parametrize("hook", ["init_worker_by_lua_block { mine() }", "init_worker_by_lua 'mine()';"])
def test_a_hook_of_the_users_keeps_lifecycle_out_and_is_named(hook: str) -> None:
    made = plan.make(facts(http=hook))
    assert (made.configuration[0].after or b"").decode() == HEADER + HOOK
    (note,) = made.notes
    assert note.startswith(f"{MAIN}:3: init_worker_by_lua")
    assert 'dofile("/s/lua/resty/metrics/load.lua").init_worker {}' in note
    calling = 'init_worker_by_lua_block { dofile("/s/lua/resty/metrics/load.lua").init_worker {} }'
    assert plan.make(facts(http=calling)).notes == ()


def test_lifecycle_that_is_included_by_hand_is_not_included_twice() -> None:
    assert snippet(facts(conf_d="include /s/nginx.conf.d/lifecycle.conf;")) == HEADER + HOOK


def test_an_upgrade_adds_it_and_then_nothing_more() -> None:
    after = snippet(facts(before=HEADER + HOOK))
    assert after == HEADER + HOOK + LIFECYCLE
    assert snippet(facts(before=after)) is None


def test_what_was_asked_for_stays_until_uninstall() -> None:
    after = snippet(facts(), "upstreams", "vts")
    assert after == HEADER + HOOK + LIFECYCLE + UPSTREAMS + VTS
    assert snippet(facts(before=after)) is None
    more = snippet(facts(before=HEADER + HOOK + LIFECYCLE), "upstreams")
    assert more == HEADER + HOOK + LIFECYCLE + UPSTREAMS
    assert snippet(facts(before=more), "upstreams") is None
    seen = facts(before=after)
    assert removal.make(seen, after.encode()).configuration[0].after is None


def test_what_is_included_elsewhere_is_not_added() -> None:
    assert snippet(facts(conf_d="include /s/nginx.conf.d/upstreams.conf;"), "upstreams") == HEADER + HOOK + LIFECYCLE


def test_an_include_by_hand_gets_what_is_asked_for_and_no_more() -> None:
    by_hand = facts(http="include /s/nginx.conf.d/resty-metrics.conf;")
    assert snippet(by_hand) is None
    assert snippet(by_hand, "upstreams") == HEADER + UPSTREAMS


def test_a_file_that_the_user_changed_is_kept_and_the_line_is_said() -> None:
    changed = replace(facts(before=HEADER + HOOK), snippets={SNIPPET: (HEADER + HOOK + "# mine\n").encode()})
    assert snippet(changed) is None
    with pytest.raises(RefusedError, match=f"Add to it: {UPSTREAMS.strip()}"):
        plan.make(changed, {"upstreams"})


@pytest.mark.parametrize(("http", "conf_d"), [("map_hash_max_size 512;", ""), ("", "map_hash_bucket_size 256;")])
def test_upstreams_goes_behind_the_sizes_of_maps(http: str, conf_d: str) -> None:
    assert UPSTREAMS in (snippet(facts(http=http, conf_d=conf_d), "upstreams") or "")


def test_upstreams_is_refused_where_the_sizes_of_maps_come_later() -> None:
    seen = facts()
    later = read(
        f"# configuration file {MAIN}:\nhttp {{\ninclude conf.d/*.conf;\nmap_hash_max_size 512;\nserver {{ }}\n}}\n\n"
    )
    with pytest.raises(RefusedError, match=rf"--with-upstreams: {MAIN}:3: .* add after that line: {UPSTREAMS.strip()}"):
        plan.make(replace(seen, configuration=later), {"upstreams"})
    plan.make(replace(seen, configuration=later))
    line = "http {\nmap_hash_max_size 512;\n}\n"
    into_it = replace(seen, configuration=read(f"# configuration file {MAIN}:\n{line}\n"), http_file=line.encode())
    with pytest.raises(RefusedError, match="--with-upstreams"):
        plan.make(into_it, {"upstreams"})


REFUSED = [
    ("stub-status", {"able": frozenset()}, "has no http_stub_status_module"),
    ("stub-status", {"busy": frozenset({19146})}, "127.0.0.1:19146, where stub-status.conf listens, is in use"),
    ("vts", {"able": frozenset()}, "has no ngx_http_vhost_traffic_status_module"),
    ("vts", {"busy": frozenset({19147})}, "127.0.0.1:19147"),
]


@pytest.mark.parametrize(("name", "more", "why"), REFUSED)
def test_a_file_that_this_nginx_cannot_take(name: str, more: dict[str, frozenset[object]], why: str) -> None:
    with pytest.raises(RefusedError, match=why):
        plan.make(replace(facts(), **more), {name})  # type: ignore[arg-type]


def test_a_zone_of_vts_that_is_there() -> None:
    with pytest.raises(RefusedError, match=f"--with-vts: {MAIN}:3: vhost_traffic_status_zone is there already"):
        plan.make(facts(http="vhost_traffic_status_zone;"), {"vts"})


def test_the_collectors_flag_is_said() -> None:
    notes = plan.make(facts(), {"stub-status"}).notes
    assert "--source.stub-status=http://127.0.0.1:19146/stub_status" in notes[0]


@pytest.fixture
def collector(socket_path: Path) -> Iterator[Collector]:
    with Collector(socket_path) as running:
        yield running


@pytest.mark.slow
@pytest.mark.parametrize("includes", [True, False], ids=["conf.d", "one-file"])
def test_all_of_it_on_a_real_nginx(collector: Collector, includes: bool) -> None:
    """Added at two times, named, kept by a plain install, and gone to the byte afterwards."""
    with Debian(includes=includes) as debian:
        before = debian.tree()
        done = run("install", debian, collector)
        assert done.status == 0, done.text
        place = debian.snippet if includes else debian.conf
        said = done.out[done.out.index("installed: ") :]
        hook = f"include {debian.share}/nginx.conf.d/resty-metrics.conf;"
        assert f"added to {place}:\n  {hook}\n" in said
        assert f'.init_worker {{ socket = "{collector.socket_path}" }}' in said
        assert f"added to {debian.share}: " in said
        wait_until(lambda: "resty_metrics_nginx_workers{" in collector.page() or "nginx_up 1" in collector.page())

        done = run("install", debian, collector, "--with-upstreams")
        assert done.status == 0, done.text
        upstreams = f"include {debian.share}/nginx.conf.d/upstreams.conf;"
        assert f"added to {place}:\n  {upstreams}\n" in done.out
        assert upstreams in place.read_text()
        assert place.read_text().count(hook) == 1
        assert run("install", debian, collector).out.startswith("already installed")

        done = run("uninstall", debian, collector)
        assert done.status == 0, done.text
        assert f"removed from {place}:\n  {hook}\n" in done.out
        assert upstreams in done.out
        after = debian.tree()
        assert {path: entry[0] for path, entry in before.items()} == {path: after[path][0] for path in before}
        assert not debian.share.exists()


@pytest.mark.slow
def test_a_hook_of_the_users_in_a_real_nginx(collector: Collector) -> None:
    with Debian(http="init_worker_by_lua_block { ngx.timer.at(0, function() end) }") as debian:
        done = run("install", debian, collector)
        assert done.status == 0, done.text
        assert "note: " in done.out
        assert "init_worker_by_lua_block is your own" in done.out
        assert "lifecycle" not in debian.snippet.read_text()


@pytest.mark.slow
def test_workers_are_heard_of_before_the_first_request(collector: Collector) -> None:
    with Debian() as debian:
        done = run("install", debian, collector, "--without-proof")
        assert done.status == 0, done.text
        wait_until(lambda: "nginx_up 1" in collector.page(), message="the workers' heartbeats")
        assert collector.request_counts().total() == 0


@pytest.mark.slow
def test_the_modules_that_this_nginx_has(collector: Collector) -> None:
    with Debian() as debian:
        done = run("install", debian, collector, "--with-vts", "--dry-run")
        assert done.status == 1
        assert "has no ngx_http_vhost_traffic_status_module" in done.error
