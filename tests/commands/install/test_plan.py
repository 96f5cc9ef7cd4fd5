"""What is planned and removed, from what was seen: files of other versions, of the user, of a package of the system."""

from collections.abc import Mapping
from dataclasses import replace

import pytest
from resty_metrics.commands.install import manifest, plan, removal
from resty_metrics.commands.install.facts import Change, Facts
from resty_metrics.commands.install.manifest import Added, Manifest, digest
from resty_metrics.commands.install.refused import RefusedError
from resty_metrics.nginx_config.dump import read
from resty_metrics.process.command_line import DEFAULT_SOCKET

SHARE = "/s"
MAIN = "/n/nginx.conf"
SNIPPET = "/n/conf.d/resty-metrics.conf"
HTTP = "events {}\nhttp {\n    include conf.d/*.conf;\n    server { listen 80; }\n}\n"
OURS = {"lua/a.lua": b"A2", "nginx.conf.d/resty-metrics.conf": b"log_by_lua_file /s/lua/resty/metrics/hook.lua;\n"}


def facts(written: Manifest | None = None, http: str = HTTP, **present: bytes) -> Facts:
    """``present``: files in the directory, a for lua/a.lua and so on."""
    names = {"a": "lua/a.lua", "b": "lua/b.lua", "conf": "nginx.conf.d/resty-metrics.conf"}
    there = {names[name]: content for name, content in present.items()}
    if written is not None:
        there[manifest.NAME] = manifest.write(written)
    return Facts(
        label="nginx", prefix="/n", modules="/m", lua=True, users=(), texts={}, socket_path=DEFAULT_SOCKET, share=SHARE,
        configuration=read(f"# configuration file {MAIN}:\n{http}\n"), ours=OURS, present=there, manifest=written,
        snippets={SNIPPET: None}, http_file=http.encode(), unreadable=None, unread=(),
    )  # fmt: skip


def written(files: Mapping[str, bytes], *added: Added) -> Manifest:
    return Manifest("0.0.9", {name: digest(content) for name, content in files.items()}, added)


def shown(changes: tuple[Change, ...]) -> dict[str, tuple[bytes | None, bytes | None]]:
    return {one.path: (one.before, one.after) for one in changes if not one.path.endswith(manifest.NAME)}


def test_a_first_install() -> None:
    made = plan.make(facts())
    assert shown(made.files) == {f"/s/{name}": (None, content) for name, content in OURS.items()}
    text = made.configuration[0].after or b""
    lines = b"\ninclude /s/nginx.conf.d/resty-metrics.conf;\ninclude /s/nginx.conf.d/lifecycle.conf;\n"
    assert text.endswith(lines)
    recorded = manifest.read(made.files[-1].after or b"", "m")
    assert recorded.of(MAIN) == Added(MAIN, SNIPPET, text.decode(), whole_file=True)
    assert recorded.files == {name: digest(content) for name, content in OURS.items()}


def test_an_upgrade_replaces_what_is_as_it_was_written_and_removes_what_is_no_more() -> None:
    before = written({"lua/a.lua": b"A1", "lua/b.lua": b"B"})
    made = plan.make(facts(before, a=b"A1", b=b"B", conf=OURS["nginx.conf.d/resty-metrics.conf"]))
    assert shown(made.files) == {"/s/lua/a.lua": (b"A1", b"A2"), "/s/lua/b.lua": (b"B", None)}
    assert made.notes == ()


def test_an_upgrade_loses_nothing_of_the_users() -> None:
    before = written({"lua/a.lua": b"A1", "lua/b.lua": b"B", "nginx.conf.d/resty-metrics.conf": b"C"})
    made = plan.make(facts(before, a=b"mine", b=b"mine", conf=b"mine"))
    assert shown(made.files) == {"/s/lua/a.lua.saved": (None, b"mine"), "/s/lua/a.lua": (b"mine", b"A2")}
    assert [note.split(" ")[0] for note in made.notes] == ["/s/lua/a.lua", "/s/nginx.conf.d/resty-metrics.conf"]


def test_files_of_a_package_of_the_system_are_left_to_it() -> None:
    """Also where an earlier install had written them."""
    seen = replace(facts(written({"lua/a.lua": b"A1"}), a=b"A1"), ours=None)
    made = plan.make(seen)
    assert shown(made.files) == {}
    assert len(made.configuration) == 1
    assert manifest.read(made.files[0].after or b"", "m").files == {}


def test_another_socket_is_stated_and_one_that_nginx_would_misread_is_refused() -> None:
    made = plan.make(replace(facts(), socket_path="/run/x.sock"))
    assert b"geo $resty_metrics_socket { default /run/x.sock; }" in (made.configuration[0].after or b"")
    with pytest.raises(RefusedError, match=r"--socket\.path"):
        plan.make(replace(facts(), socket_path="/run/$x.sock"))


def test_a_file_that_is_not_ours_stands_in_the_place() -> None:
    with pytest.raises(RefusedError, match="is not of install"):
        plan.make(replace(facts(), snippets={SNIPPET: b"# mine\n"}))


def test_every_reason_is_said_at_once() -> None:
    http = "events {}\nhttp {\n lua_code_cache off;\n log_by_lua_block { own() }\n server { }\n}\n"
    with pytest.raises(RefusedError) as refused:
        plan.make(replace(facts(http=http), unreadable="workers may not"))
    assert len(refused.value.reasons) == 3


def test_an_include_of_another_directory() -> None:
    http = "http { include /opt/m/nginx.conf.d/resty-metrics.conf; server { } }"
    with pytest.raises(RefusedError, match="--share-dir=/opt/m"):
        plan.make(facts(http=http))


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b'{"schema": 2}', b"\xff", b'{"schema": 1, "files": 3}'])
def test_a_manifest_that_is_none(content: bytes) -> None:
    with pytest.raises(RefusedError, match=r"/s/manifest\.json is not as install writes it"):
        manifest.read(content, "/s/manifest.json")


def test_a_line_is_removed_as_it_was_added_and_nothing_else() -> None:
    line = "    include /s/nginx.conf.d/resty-metrics.conf;\n"
    text = f"events {{}}\nhttp {{\n{line}    server {{ }}\n    # mine\n}}\n"
    before = written({}, Added(MAIN, MAIN, line, whole_file=False))
    made = removal.make(facts(before, http=text), text.encode())
    assert shown(made.configuration) == {MAIN: (text.encode(), text.replace(line, "").encode())}
    changed = text.replace("include /s", "include  /s")
    with pytest.raises(RefusedError, match="no longer has the line"):
        removal.make(facts(before, http=changed), changed.encode())


NEEDED = [
    ("include /s/nginx.conf.d/upstreams.conf;", f"{MAIN}:2"),
    ('lua_package_path "/s/lua/?.lua;;";', f"{MAIN}:2 (lua_package_path)"),
    ('server { log_by_lua_block { dofile("/s/lua/resty/metrics/load.lua").log() } }', f"{MAIN}:2 (log_by_lua_block)"),
]


@pytest.mark.parametrize(("more", "place"), NEEDED)
def test_what_needs_our_files_keeps_them(more: str, place: str) -> None:
    before = written({}, Added(MAIN, SNIPPET, "", whole_file=True))
    with pytest.raises(RefusedError) as refused:
        removal.make(facts(before, http=f"http {{\n{more}\n}}\n"), b"")
    assert place in str(refused.value)
