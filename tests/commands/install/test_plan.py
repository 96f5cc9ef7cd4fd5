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
        snippets={SNIPPET: None}, http_file=http.encode("utf-8", "surrogateescape"), unreadable=None, unread=(),
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
    with pytest.raises(RefusedError, match="install did not write it"):
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
    with pytest.raises(RefusedError, match=r"/s/manifest\.json is not a manifest of install"):
        manifest.read(content, "/s/manifest.json")


def test_a_line_is_removed_as_it_was_added_and_nothing_else() -> None:
    line = "    include /s/nginx.conf.d/resty-metrics.conf;\n"
    text = f"events {{}}\nhttp {{\n{line}    server {{ }}\n    # mine\n}}\n"
    before = written({}, Added(MAIN, MAIN, line, whole_file=False))
    made = removal.make(facts(before, http=text), text.encode())
    assert shown(made.configuration) == {MAIN: (text.encode(), text.replace(line, "").encode())}


LINE = "include /s/nginx.conf.d/resty-metrics.conf;"
SOCKET = "geo $resty_metrics_socket { default /run/x.sock; }"
ADDED = f"    {LINE}\n    {SOCKET}\n"
# What another tool made of the file, and what is left of it.
REWRITTEN = [
    ("tabs", f"http {{\n\t{LINE}\n\t{SOCKET}\n\tserver {{ }}\n}}\n", "http {\n\tserver { }\n}\n"),
    ("one line", f"http {{ {LINE} {SOCKET} server {{ }} }}\n", "http {   server { } }\n"),
    (
        "other blanks and quotes",
        "http {\r\n  include  '/s/nginx.conf.d/resty-metrics.conf' ;\r\n"
        "  geo $resty_metrics_socket\r\n  {\r\n    default /run/x.sock;\r\n  }\r\n  server { }\r\n}\r\n",
        "http {\r\n  server { }\r\n}\r\n",
    ),
    ("gone in part", f"http {{\n {SOCKET}\n server {{ }}\n}}\n", "http {\n server { }\n}\n"),
    ("commented out", f"http {{\n # {LINE}\n server {{ }}\n}}\n", None),
    ("gone", "http {\n server { }\n}\n", None),
    ("another socket", "http {\n geo $resty_metrics_socket { default /mine; }\n}\n", None),
]


@pytest.mark.parametrize(("name", "text", "after"), REWRITTEN, ids=[one[0] for one in REWRITTEN])
def test_what_another_tool_wrote_anew(name: str, text: str, after: str | None) -> None:
    before = written({"lua/a.lua": b"A"}, Added(MAIN, MAIN, ADDED, whole_file=False))
    made = removal.make(facts(before, http=text, a=b"A"), text.encode())
    assert shown(made.configuration) == ({} if after is None else {MAIN: (text.encode(), after.encode())})
    assert shown(made.files) == {"/s/lua/a.lua": (b"A", None)}
    notes = [note for note in made.notes if "remove it by hand" not in note]
    assert [note for note in notes if "removed already" in note] == ([] if after else notes)
    assert (len(notes) < len(made.notes)) == (name == "another socket")


MOVED = [
    ("to another file", "", f"{SOCKET}\n", "/n/conf.d/x.conf:1: geo"),
    ("down, and written twice", f"{SOCKET}\n {SOCKET}\n", "", "/n/nginx.conf:3 (line 2 after the change): geo"),
    ("into a map", "", 'map "" $resty_metrics_socket { default /run/x.sock; }\n', "/n/conf.d/x.conf:1: map"),
    (
        "a setting of the user's",
        "set $resty_metrics_labels x;\n",
        "",
        "line 2 after the change): set $resty_metrics_labels",
    ),
    ("not at all", "", "", None),
    ("within the file", f"server {{ }}\n{SOCKET}\n", "", None),
]


@pytest.mark.parametrize(("name", "main", "included", "words"), MOVED, ids=[case[0] for case in MOVED])
def test_a_line_of_ours_that_was_moved_is_removed_or_named(
    name: str, main: str, included: str, words: str | None
) -> None:
    text = f"http {{ include conf.d/x.conf;\n    {LINE}\n{main}}}\n"
    before = written({"lua/a.lua": b"A"}, Added(MAIN, MAIN, ADDED, whole_file=False))
    dump = f"# configuration file {MAIN}:\n{text}\n# configuration file /n/conf.d/x.conf:\n{included}\n"
    made = removal.make(replace(facts(before, http=text, a=b"A"), configuration=read(dump)), text.encode())
    (change,) = made.configuration
    assert b"include /s/" not in (change.after or b"")
    left = [note for note in made.notes if "remove it by hand" in note]
    assert len(left) == (words is not None) * (1 + (name == "down, and written twice"))
    assert words is None or words in left[0]
    assert (b"geo" in (change.after or b"")) == (name == "down, and written twice")


def test_notes_have_the_line_after_the_change_too() -> None:
    own = "log_by_lua_block { own() }"
    server = f"server {{ {own} lua_code_cache off; }}"
    http = f"events {{}}\nhttp {{\n  init_worker_by_lua_block {{ }}\n  {server}\n  server {{ }}\n}}\n"
    made = plan.make(replace(facts(http=http), snippets={}, socket_path="/run/x.sock"))
    (change,) = made.configuration
    after = (change.after or b"").decode().splitlines()
    for note, word in zip(made.notes, ("log_by_lua", "lua_code_cache", "init_worker"), strict=True):
        number = int(note.split("(line ")[1].split()[0])
        assert word in after[number - 1]
        assert word in http.splitlines()[int(note.split(":")[1].split()[0]) - 1]


def test_notes_about_other_files_and_unmoved_lines_have_one_number() -> None:
    http = "events {}\nhttp { server { log_by_lua_block { own() } } }\n"
    made = plan.make(replace(facts(http=http), snippets={}))
    assert made.configuration
    assert not any("after the change" in note for note in made.notes)
    made = plan.make(facts(http=http.replace("{ server", "{ include conf.d/*.conf;\n server")))
    assert not any("after the change" in note for note in made.notes)


LIFECYCLE = "include /s/nginx.conf.d/lifecycle.conf;"
CALL = (
    'init_worker_by_lua_block { dofile("/s/lua/resty/metrics/load.lua").init_worker { socket = "/run/x.sock", '
    'nginx = "edge {1}; a" } }'
)
ALL = f"    {LINE}\n    {SOCKET}\n    {CALL}\n    {LIFECYCLE}\n"
# Each has every line of ours and ``server { }``, as some tool might write it.
FORMS = [
    ("tabs", ALL.replace("    ", "\t")),
    ("one line", ALL.replace("\n", " ")),
    ("line ends", ALL.replace("\n", "\r\n")),
    ("another order", f"{LIFECYCLE}\n{CALL}\n{SOCKET}\n{LINE}\n"),
    ("a word a line", ALL.replace("edge {1}; a", "NAME").replace(" ", "\n").replace("NAME", "edge {1}; a")),
    ("no blanks", ALL.replace(" { ", "{").replace(" } ", "}").replace(" = ", "=").replace(", ", ",")),
    ("quotes", ALL.replace('"', "'").replace(LINE, "include '/s/nginx.conf.d/resty-metrics.conf' ;")),
    (
        "an indented block",
        ALL.replace("block { ", "block {\n        ").replace("{ socket", "{\n        socket").replace(" } }", "\n}\n}"),
    ),
    ("between lines of the user's", ALL.replace("\n", "\n    gzip on;\n")),
    ("behind Lua with quotes and braces", f"init_by_lua_block {{ x = #'}}' -- don't\n }}\n{ALL}"),
]


@pytest.mark.parametrize("form", [one[1] for one in FORMS], ids=[one[0] for one in FORMS])
def test_every_line_of_ours_is_removed_in_any_form(form: str) -> None:
    before = written({"lua/a.lua": b"A"}, Added(MAIN, MAIN, ALL, whole_file=False))
    text = f"events {{}}\nhttp {{\n{form}    server {{ }}\n}}\n"
    (change,) = removal.make(facts(before, http=text, a=b"A"), text.encode()).configuration
    left = (change.after or b"").decode()
    assert "/s/" not in left
    assert "resty_metrics" not in left
    assert "init_worker" not in left
    assert "server { }" in left
    for piece in ("{", "}", "gzip on;", "don't"):
        assert left.count(piece) == text.count(piece) - ALL.count(piece)


def test_lines_that_a_person_changed_are_named_each() -> None:
    """The one that is as it was would go, the other two would leave nginx without its files."""
    changed = CALL.replace("init_worker {", "init_worker { buckets = 1,")
    text = f"http {{\n{LINE}\n{LIFECYCLE} {LIFECYCLE}\n{changed}\n}}\n"
    before = written({}, Added(MAIN, MAIN, ALL, whole_file=False))
    with pytest.raises(RefusedError) as refused:
        removal.make(facts(before, http=text), text.encode())
    assert f"{MAIN}:4" in str(refused.value)
    kept = text.replace("buckets = 1,", "")
    with pytest.raises(RefusedError, match=f"install: {MAIN}:3. Remove them by hand"):
        removal.make(facts(before, http=kept), kept.encode())


@pytest.mark.parametrize("share", ["/s", "/opt/\udce9/\u00e0"], ids=["ascii", "not-ascii"])
def test_a_call_of_ours_in_another_form_is_not_taken_for_the_users_own(share: str) -> None:
    added = ALL.replace("/s/", f"{share}/")
    text = f"http {{\n{added.replace(' { ', '{').replace(', ', ',')}server {{ }}\n}}\n"
    entry = Added(MAIN, MAIN, added.encode("utf-8", "surrogateescape").decode("latin-1"), whole_file=False)
    now = text.encode("utf-8", "surrogateescape")
    seen = replace(facts(written({}, entry), http=text), share=share, snippets={MAIN: now})
    assert not any("is your own" in note for note in plan.make(seen).notes)
    (change,) = removal.make(seen, now).configuration
    assert b"init_worker" not in (change.after or b"")


def test_an_include_that_was_written_twice_is_left_to_a_person() -> None:
    text = f"http {{\n {LINE}\n server {{ {LINE} }}\n}}\n"
    before = written({}, Added(MAIN, MAIN, ADDED, whole_file=False))
    with pytest.raises(RefusedError, match=f"{MAIN}:2, {MAIN}:3. Remove them by hand"):
        removal.make(facts(before, http=text), text.encode())


def test_files_of_others_in_the_directory_are_named() -> None:
    before = written({"lua/a.lua": b"A"}, Added(MAIN, SNIPPET, "S", whole_file=True))
    made = removal.make(facts(before, a=b"A", b=b"mine"), b"S")
    assert made.notes == ("/s is kept: install did not write lua/b.lua",)


def test_the_directories_that_install_creates_are_recorded() -> None:
    made = plan.make(replace(facts(), absent=("/opt/x", "/opt/x/y")))
    recorded = manifest.read(made.files[-1].after or b"", "m")
    assert recorded.directories == ("/opt/x", "/opt/x/y")
    assert recorded.without(MAIN).directories == recorded.directories
    again = plan.make(replace(facts(recorded, a=b"A2"), ours={**OURS, "lua/b.lua": b"B"}))
    assert manifest.read(again.files[-1].after or b"", "m").directories == recorded.directories
    old = b'{"schema": 1, "version": "0", "files": {}, "configurations": []}'
    assert manifest.read(old, "m").directories == ()


def test_a_main_file_of_another_name_that_reads_our_file() -> None:
    old = "/n/old.conf"
    before = written({"lua/a.lua": b"A"}, Added(old, SNIPPET, "S", whole_file=True))
    seen = replace(facts(before, a=b"A"), vanished=frozenset({old}))
    dump = f"# configuration file {MAIN}:\n{HTTP}\n# configuration file {SNIPPET}:\n{LINE}\n\n"
    seen = replace(seen, configuration=read(dump))
    assert removal.entry(seen) == Added(old, SNIPPET, "S", whole_file=True)
    made = removal.make(seen, b"S")
    assert shown(made.configuration) == {SNIPPET: (b"S", None)}
    assert shown(made.files) == {"/s/lua/a.lua": (b"A", None)}


def test_the_files_do_not_stay_for_an_nginx_that_is_gone() -> None:
    before = written({"lua/a.lua": b"A"}, Added("/old/n.conf", "/old/x.conf", "S", whole_file=True))
    assert removal.make(facts(before, a=b"A"), None).changes == ()
    made = removal.make(replace(facts(before, a=b"A"), vanished=frozenset({"/old/n.conf"})), None)
    assert shown(made.files) == {"/s/lua/a.lua": (b"A", None)}
    assert made.notes == ("/old/n.conf, for which these files were installed too, is gone",)
    still = replace(facts(before, a=b"A"), vanished=frozenset({"/old/n.conf"}), snippets={"/old/x.conf": b"S"})
    assert removal.make(still, None).changes == ()


def test_a_directory_whose_name_is_not_ascii() -> None:
    share = "/opt/\udce9/\u00e9"
    ours = {"nginx.conf.d/resty-metrics.conf": b"x"}
    seen = replace(facts(http="http {\n}\n"), share=share, ours=ours, snippets={})
    made = plan.make(seen)
    (change,) = made.configuration
    assert b"include /opt/\xe9/\xc3\xa9/nginx.conf.d/resty-metrics.conf;" in (change.after or b"")
    http = (change.after or b"").decode("utf-8", "surrogateescape")
    there = {manifest.NAME: made.files[-1].after or b""}
    again = replace(facts(http=http), share=share, present=there, manifest=manifest.read(there[manifest.NAME], "m"))
    assert shown(removal.make(again, change.after).configuration) == {MAIN: (change.after, change.before)}


def test_code_cache_off_in_one_location_is_said_and_stops_nothing() -> None:
    made = plan.make(facts(http="events {}\nhttp {\n server { location /x {\n lua_code_cache off; } }\n}\n"))
    assert made.configuration
    assert made.notes == (
        f"{MAIN}:4 (line 6 after the change): lua_code_cache off in server, location /x: "
        "requests there cannot be counted; remove that line",
    )


@pytest.mark.parametrize("hook", ["if ngx.var.x then m.log() end", 'require("my.log").run()', "bytecode"])
def test_a_hook_that_cannot_be_told_stops_nothing(hook: str) -> None:
    own = (
        "log_by_lua_file /x.lua;"
        if hook == "bytecode"
        else f"log_by_lua_block {{ local m = require 'resty.metrics' {hook} }}"
    )
    made = plan.make(replace(facts(http=f"http {{\n{own}\nserver {{ }}\n}}\n"), texts={"/x.lua": "\x1bLJ"}))
    assert b"resty-metrics-own-hook.conf;" in (made.configuration[0].after or b"")
    made = plan.make(replace(facts(http=f"http {{\nserver {{ {own} }}\n}}\n"), texts={"/x.lua": "\x1bLJ"}))
    assert "may replace ours (" in made.notes[0]
    assert "send a request there" in made.notes[0]
    assert "load.lua" not in made.notes[0]


def test_a_hook_that_cannot_be_told_beside_the_users_own_spool_is_left_alone() -> None:
    """The include would declare the spool again, and nginx would refuse it."""
    http = "http {\nlua_shared_dict resty_metrics_spool 8m;\nlog_by_lua_file /x.lua;\nserver { }\n}\n"
    made = plan.make(replace(facts(http=http), texts={"/x.lua": "\x1bLJ"}))
    assert made.configuration == ()


def test_a_snippet_that_shadows_in_many_servers_is_one_note() -> None:
    servers = "server { listen 81; } " + "server { include s.conf; } " * 60
    snippet = "# configuration file /n/s.conf:\nlog_by_lua_block { own() }\n\n"
    dump = f"# configuration file {MAIN}:\nhttp {{\n{servers}\n}}\n\n{snippet}"
    made = plan.make(replace(facts(), configuration=read(dump), http_file=f"http {{\n{servers}\n}}\n".encode()))
    assert len(made.notes) == 1
    assert made.notes[0].startswith("/n/s.conf:1: log_by_lua_block in server and 59 more replaces ours")


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
