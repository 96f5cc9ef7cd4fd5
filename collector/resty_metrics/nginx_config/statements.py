"""Settings of ours that a configuration states: socket, buckets, spool, code cache, user, pid file.

Source: nginx.conf.d/*.conf of this project, and lua/resty/metrics/settings.lua for the defaults.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from resty_metrics.nginx_config.dump import Configuration, Directive
from resty_metrics.nginx_config.hooks import code, directives
from resty_metrics.process.command_line import DEFAULT_SOCKET

SPOOL = "resty_metrics_spool"
_SOCKET, _BUCKETS, _NGINX = "$resty_metrics_socket", "$resty_metrics_buckets", "$resty_metrics_nginx"
_DEFAULT_BUCKETS = "0.005 0.01 0.025 0.05 0.075 0.1 0.25 0.5 0.75 1 2.5 5 7.5 10 30 60"
# Without the socket: each stated socket is judged by itself.
_FOR_THE_WORKER = (
    _BUCKETS,
    _NGINX,
    "$resty_metrics_labels",
    "$resty_metrics_upstreams",
    "$resty_metrics_upstream_peer",
)
_BY_CASES = frozenset({"map", "geo", "split_clients"})
_ASSIGNING = ("set", "auth_request_set", "perl_set", "js_set")
_CONSTANT = frozenset({"$hostname", "${hostname}", "$nginx_version"})  # the same for all requests of a worker
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}", re.ASCII)
_INIT_WORKER = frozenset({"init_worker_by_lua", "init_worker_by_lua_block", "init_worker_by_lua_file"})
_CALL = re.compile(r"(?<![\w.])resty[./]metrics(?!\w).*?\.\s*init_worker\b(?P<arguments>.*)", re.DOTALL)
_OURS = re.compile(r"resty_metrics_[a-z]|(?<![\w.])resty[./]metrics(?!\w)")
_ARGUMENT = r"""\b{}\s*=\s*(?P<quote>["'])(?P<value>.*?)(?P=quote)"""


@dataclass(frozen=True, slots=True)
class Stated:
    """A value and the directive that states it; ``directive`` None: nothing does, it is the Lua module's default."""

    value: str
    directive: Directive | None

    @property
    def place(self) -> str:
        return "the default of the Lua module" if self.directive is None else self.directive.place


def _http(configuration: Configuration) -> list[Directive]:
    return [one for http in configuration.blocks("http") for one in directives(http.block or ())]


def _of_variable(configuration: Configuration, variable: str) -> list[Stated]:
    """Return what ``geo`` or ``map`` states, of which the last holds, then what each ``set`` states."""
    set_to: list[Stated] = []
    constant: list[Stated] = []
    for one in _http(configuration):
        if one.name == "set" and len(one.args) == 2 and one.args[0] == variable:
            set_to.append(Stated(one.args[1], one))
        elif one.name in ("geo", "map") and one.args[-1:] == (variable,):
            constant = [Stated(line.args[0], line) for line in one.block or () if len(line.args) == 1]
    return constant + set_to


def lifecycle(configuration: Configuration, prefix: str, texts: Mapping[str, str | None]) -> dict[str, Stated]:
    """Return the arguments of ``init_worker``: ``socket``, ``buckets``, and ``nginx``, which is "" where it is missing.

    Empty where ``init_worker`` is not called.
    """
    for one in _http(configuration):
        text = code(one, prefix, texts) if one.name in _INIT_WORKER else None
        call = None if text is None else _CALL.search(text)
        if call is not None:
            names = ("socket", "buckets", "nginx")
            found = ((name, re.search(_ARGUMENT.format(name), call["arguments"])) for name in names)
            stated = {name: Stated(match["value"], one) for name, match in found if match is not None}
            return {"nginx": Stated("", one), **stated}
    return {}


def name(configuration: Configuration, prefix: str, texts: Mapping[str, str | None]) -> str:
    """Return the name of this nginx; "" if it has none, or an invalid one."""
    begun = lifecycle(configuration, prefix, texts)
    stated = [begun["nginx"]] if begun else _of_variable(configuration, _NGINX)[-1:]
    return next((one.value for one in stated if _NAME.fullmatch(one.value)), "")


def sockets(configuration: Configuration, prefix: str, texts: Mapping[str, str | None]) -> list[Stated]:
    """Return every path that workers may be told to send to."""
    stated = _of_variable(configuration, _SOCKET)
    begun = lifecycle(configuration, prefix, texts)
    stated += [begun["socket"]] if "socket" in begun else []
    found = [Stated(one.value.removeprefix("unix:"), one.directive) for one in stated]
    return found or [Stated(DEFAULT_SOCKET, None)]


def differences(
    configuration: Configuration, prefix: str, texts: Mapping[str, str | None]
) -> list[tuple[str, Stated, Stated]]:
    """Return where lifecycle and nginx's variables disagree: the setting, lifecycle's value, the variable's."""
    begun, found = lifecycle(configuration, prefix, texts), []
    for name, variable, default in (
        ("socket", _SOCKET, DEFAULT_SOCKET),
        ("buckets", _BUCKETS, _DEFAULT_BUCKETS),
        ("nginx", _NGINX, ""),
    ):
        for stated in _of_variable(configuration, variable) or [Stated(default, None)]:
            if name in begun and begun[name].value.split() != stated.value.split():
                found.append((name, begun[name], stated))
    return found


def per_request(configuration: Configuration) -> list[tuple[str, Directive]]:
    """Return each setting that not all requests share, with its variable and its directive.

    Only some requests state such a setting, or it depends on the request. A worker keeps for life the value of its
    first request.
    """
    found: list[tuple[str, Directive]] = []
    for variable in _FOR_THE_WORKER:
        stated = [one for one in _http(configuration) if variable in one.args]
        constants = [one for one in stated if one.name in _BY_CASES and not _has_cases(one)]
        value = next((line.args[-1] for one in reversed(constants) for line in one.block or () if line.args), "")
        found += [(variable, one) for one in stated if _states_for_some(one, variable, value)]
    return found


def _states_for_some(one: Directive, variable: str, value: str) -> bool:
    """Return whether a directive gives ``variable`` to some requests only.

    ``value``: the value that all requests share.
    """
    if one.name in _BY_CASES:
        return one.args[-1] == variable and _has_cases(one)
    return one.args[0] == variable and one.name.startswith(_ASSIGNING) and one.args[1:] != (value,)


def _has_cases(one: Directive) -> bool:
    """Return whether the value of a ``map`` or its like differs between the requests of one worker."""
    lines = one.block or ()
    constant = one.name == "map" and not _varies(one.args[0])
    return (not constant and any(line.name != "default" for line in lines)) or any(
        _varies(argument) for line in lines for argument in line.args
    )


def _varies(text: str) -> bool:
    return "$" in text and text not in _CONSTANT


def has_spool(configuration: Configuration) -> bool:
    return any(one.name == "lua_shared_dict" and one.args[:1] == (SPOOL,) for one in _http(configuration))


def user(configuration: Configuration) -> tuple[str, ...]:
    """Return the words of the ``user`` directive; empty where there is none."""
    return next((one.args for one in configuration.directives if one.name == "user"), ())


def pid_file(configuration: Configuration) -> str | None:
    return next((one.args[0] for one in configuration.directives if one.name == "pid" and one.args), None)


def error_logs(configuration: Configuration) -> list[str]:
    """Return the files that the master writes to, from the ``error_log`` directives outside of all blocks."""
    named = [one.args[0] for one in configuration.directives if one.name == "error_log" and one.args]
    return [name for name in named if name != "stderr" and not name.startswith(("syslog:", "memory:"))]


def working_directory(configuration: Configuration) -> str | None:
    return next((one.args[0] for one in configuration.directives if one.name == "working_directory" and one.args), None)


def mentions_us(configuration: Configuration, texts: Mapping[str, str | None]) -> bool:
    """Return whether any part of the configuration, or of the Lua files that it names, belongs to this project."""
    words = (word for one in _http(configuration) for word in one.args)
    return any(_OURS.search(word) is not None for word in (*words, *filter(None, texts.values())))
