"""Files of ``nginx.conf.d`` beside the include: lifecycle.conf, and those that a flag asks for. Pure.

Rules:
- ``lifecycle.conf`` goes along where ``http{}`` has no ``init_worker_by_lua*``, since nginx allows one. It states
  the default socket and no name; where this nginx has others, its call is written out with them.
- ``upstreams.conf`` has a ``map``, and nginx accepts no ``map_hash_*`` after the first one.
- ``stub-status.conf`` and ``vts.conf`` listen on a port, and need a module.
- What the configuration already includes elsewhere is not added.
"""

from collections.abc import Collection, Iterable
from dataclasses import replace
from pathlib import PurePosixPath

from resty_metrics.commands.install import placement
from resty_metrics.commands.install.facts import CONF, Facts
from resty_metrics.commands.install.places import Place
from resty_metrics.commands.install.standing import Standing
from resty_metrics.nginx_config import hooks, statements
from resty_metrics.nginx_config.dump import Configuration, Directive
from resty_metrics.process.command_line import DEFAULT_SOCKET

LIFECYCLE, UPSTREAMS, STUB_STATUS, VTS = "lifecycle", "upstreams", "stub-status", "vts"
ASKED_FOR = (UPSTREAMS, STUB_STATUS, VTS)
PORTS = {STUB_STATUS: 19146, VTS: 19147}
_SOURCES = {
    STUB_STATUS: f"--source.stub-status=http://127.0.0.1:{PORTS[STUB_STATUS]}/stub_status",
    VTS: f"--source.vts=http://127.0.0.1:{PORTS[VTS]}/vts/format/json",
}
_MODULES = {STUB_STATUS: "http_stub_status_module", VTS: "ngx_http_vhost_traffic_status_module"}
_INIT_WORKER = frozenset({"init_worker_by_lua", "init_worker_by_lua_block", "init_worker_by_lua_file"})
_MAP_HASH = frozenset({"map_hash_bucket_size", "map_hash_max_size"})
_CALL = 'init_worker_by_lua_block {{ dofile("{share}/lua/resty/metrics/load.lua").init_worker {{ {arguments} }} }}'


def lifecycle(facts: Facts, standing: Standing) -> str | None:
    """Return the statement that starts the workers' heartbeats; None where a hook of the user's is in its place."""
    if _elsewhere(facts, standing, LIFECYCLE) or _own_init_worker(facts, standing) is not None:
        return None
    configuration = _without_init_worker(facts.configuration)
    name = statements.name(configuration, facts.prefix, facts.texts)
    if facts.socket_path == DEFAULT_SOCKET and not name:
        return _include(facts, LIFECYCLE)
    arguments = f'socket = "{facts.socket_path}"' + (f', nginx = "{name}"' if name else "")
    return _CALL.format(share=facts.share, arguments=arguments)


def note(facts: Facts, standing: Standing, place: Place) -> str | None:
    """Return a note about a hook of the user's that keeps lifecycle.conf out and does not call it."""
    own = _own_init_worker(facts, standing)
    if own is None or statements.lifecycle(facts.configuration, facts.prefix, facts.texts):
        return None
    return (
        f"{place(own)}: {own.name} is your own, so lifecycle.conf is not included, and a worker reports after its "
        f'first request. To make it report at once, add there: dofile("{facts.share}/lua/resty/metrics/load.lua")'
        ".init_worker {}"
    )


def includes(facts: Facts, standing: Standing, requested: Collection[str]) -> list[str]:
    """Return the includes of the files that are asked for, or were by an earlier install."""
    kept = {name for name in ASKED_FOR if f"/{CONF}/{name}.conf;" in standing.text}
    names = (name for name in ASKED_FOR if name in kept or name in requested)
    return [_include(facts, name) for name in names if not _elsewhere(facts, standing, name)]


def missing(facts: Facts, requested: Iterable[str]) -> list[str]:
    """Return the includes that are asked for and nowhere in the configuration."""
    return [_include(facts, name) for name in requested if not _included(facts, name)]


def against(facts: Facts, requested: Collection[str], own_file: str | None) -> list[str]:
    """Return why a file that is asked for cannot be added. ``own_file``: the file of ours that will include it."""
    new = [name for name in ASKED_FOR if name in requested and not _included(facts, name)]
    reasons = []
    for name in new:
        if name in _MODULES and name not in facts.able:
            reasons.append(f"--with-{name}: {facts.label} has no {_MODULES[name]}")
        if name in PORTS and PORTS[name] in facts.busy:
            reasons.append(f"--with-{name}: 127.0.0.1:{PORTS[name]}, where {name}.conf listens, is in use")
    if UPSTREAMS in new:
        reasons += [_map_hash(facts, directive) for directive in _late(facts.configuration, own_file)]
    if VTS in new:
        zones = [directive for directive in _http(facts.configuration) if directive.name == "vhost_traffic_status_zone"]
        reasons += [
            f"--with-vts: {directive.place}: {directive.name} is there already, and nginx allows only one"
            for directive in zones
        ]
    return reasons


def remarks(requested: Collection[str]) -> list[str]:
    """Return what else is needed after the files are added."""
    return [
        f"to read the page of {name}.conf, start the collector with {_SOURCES[name]}"
        for name in ASKED_FOR
        if name in requested and name in _SOURCES
    ]


def _include(facts: Facts, name: str) -> str:
    return f"include {facts.include(f'{name}.conf')};"


def _http(configuration: Configuration) -> list[Directive]:
    return [directive for http in configuration.blocks("http") for directive in hooks.directives(http.block or ())]


def _included(facts: Facts, name: str) -> bool:
    return any(_is_file(include.pattern, name) for include in facts.configuration.includes)


def _elsewhere(facts: Facts, standing: Standing, name: str) -> bool:
    includes_of_it = (include for include in facts.configuration.includes if _is_file(include.pattern, name))
    return any(not standing.owns_include(include) for include in includes_of_it)


def _is_file(pattern: str, name: str) -> bool:
    path = PurePosixPath(pattern)
    return path.name == f"{name}.conf" and path.parent.name == CONF


def _own_init_worker(facts: Facts, standing: Standing) -> Directive | None:
    """Return an ``init_worker_by_lua*`` of the user's."""
    for directive in _http(facts.configuration):
        ours = _is_file(directive.file, LIFECYCLE) or standing.owns(directive.file, " ".join(directive.args).strip())
        if directive.name in _INIT_WORKER and not ours:
            return directive
    return None


def _without_init_worker(configuration: Configuration) -> Configuration:
    def rest(http: Directive) -> Directive:
        return replace(
            http, block=tuple(directive for directive in http.block or () if directive.name not in _INIT_WORKER)
        )

    directives = (
        rest(directive) if directive.name == "http" and directive.block is not None else directive
        for directive in configuration.directives
    )
    return replace(configuration, directives=tuple(directives))


def _late(configuration: Configuration, own_file: str | None) -> list[Directive]:
    """Return the ``map_hash_*`` that do not stand before what install adds, or may not."""
    settings = (setting for setting in _http(configuration) if setting.name in _MAP_HASH)
    return [
        setting for setting in settings if own_file is None or not placement.precedes(configuration, setting, own_file)
    ]


def _map_hash(facts: Facts, directive: Directive) -> str:
    return (
        f"--with-upstreams: {directive.place}: nginx accepts {directive.name} only before the first map, and "
        f"upstreams.conf has a map. Omit the flag, and add after that line: {_include(facts, UPSTREAMS)}"
    )
