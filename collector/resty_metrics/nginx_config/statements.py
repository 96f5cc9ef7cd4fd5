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
    "$resty_metrics_duration_labels",
    "$resty_metrics_upstreams",
    "$resty_metrics_upstream_peer",
)
_BY_CASES = frozenset({"map", "geo", "split_clients"})
_ASSIGNING = ("set", "auth_request_set", "perl_set", "js_set")
_CONSTANT = frozenset({"$hostname", "${hostname}", "$nginx_version"})  # the same for all requests of a worker
NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}", re.ASCII)
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
    return [directive for http in configuration.blocks("http") for directive in directives(http.block or ())]


def of_variable(configuration: Configuration, variable: str) -> list[Stated]:
    """Return what ``geo`` or ``map`` states, of which the last holds, then what each ``set`` states."""
    set_to: list[Stated] = []
    constant: list[Stated] = []
    for directive in _http(configuration):
        if directive.name == "set" and len(directive.args) == 2 and directive.args[0] == variable:
            set_to.append(Stated(directive.args[1], directive))
        elif directive.name in ("geo", "map") and directive.args[-1:] == (variable,):
            constant = [Stated(line.args[0], line) for line in directive.block or () if len(line.args) == 1]
    return constant + set_to


def lifecycle(configuration: Configuration, prefix: str, texts: Mapping[str, str | None]) -> dict[str, Stated]:
    """Return the arguments of ``init_worker``: ``socket``, ``buckets``, and ``nginx``, which is "" where it is missing.

    Empty where ``init_worker`` is not called.
    """
    for directive in _http(configuration):
        text = code(directive, prefix, texts) if directive.name in _INIT_WORKER else None
        call = None if text is None else _CALL.search(text)
        if call is not None:
            names = ("socket", "buckets", "nginx")
            matches = ((name, re.search(_ARGUMENT.format(name), call["arguments"])) for name in names)
            stated = {name: Stated(match["value"], directive) for name, match in matches if match is not None}
            return {"nginx": Stated("", directive), **stated}
    return {}


def name(configuration: Configuration, prefix: str, texts: Mapping[str, str | None]) -> str:
    """Return the name of this nginx; "" if it has none, or an invalid one."""
    begun = lifecycle(configuration, prefix, texts)
    stated = [begun["nginx"]] if begun else of_variable(configuration, _NGINX)[-1:]
    return next((setting.value for setting in stated if NAME.fullmatch(setting.value)), "")


def sockets(configuration: Configuration, prefix: str, texts: Mapping[str, str | None]) -> list[Stated]:
    """Return every path that workers may be told to send to."""
    stated = of_variable(configuration, _SOCKET)
    begun = lifecycle(configuration, prefix, texts)
    stated += [begun["socket"]] if "socket" in begun else []
    settings = [Stated(setting.value.removeprefix("unix:"), setting.directive) for setting in stated]
    return settings or [Stated(DEFAULT_SOCKET, None)]


def differences(
    configuration: Configuration, prefix: str, texts: Mapping[str, str | None]
) -> list[tuple[str, Stated, Stated]]:
    """Return where lifecycle and nginx's variables disagree: the setting, lifecycle's value, the variable's."""
    begun, differing = lifecycle(configuration, prefix, texts), []
    for name, variable, default in (
        ("socket", _SOCKET, DEFAULT_SOCKET),
        ("buckets", _BUCKETS, _DEFAULT_BUCKETS),
        ("nginx", _NGINX, ""),
    ):
        for stated in of_variable(configuration, variable) or [Stated(default, None)]:
            if name in begun and _meaning(name, begun[name].value) != _meaning(name, stated.value):
                differing.append((name, begun[name], stated))
    return differing


def _meaning(name: str, value: str) -> list[str]:
    """Return the words of a value as workers take it: to them an invalid name is none."""
    return [] if name == "nginx" and not NAME.fullmatch(value) else value.split()


def per_request(configuration: Configuration) -> list[tuple[str, Directive]]:
    """Return each setting that not all requests share, with its variable and its directive.

    Only some requests state such a setting, or it depends on the request. A worker keeps for life the value of its
    first request.
    """
    settings: list[tuple[str, Directive]] = []
    for variable in _FOR_THE_WORKER:
        stated = [directive for directive in _http(configuration) if variable in directive.args]
        constants = [directive for directive in stated if directive.name in _BY_CASES and not _has_cases(directive)]
        value = next(
            (line.args[-1] for directive in reversed(constants) for line in directive.block or () if line.args), ""
        )
        settings += [(variable, directive) for directive in stated if _states_for_some(directive, variable, value)]
    return settings


def _states_for_some(directive: Directive, variable: str, value: str) -> bool:
    """Return whether a directive gives ``variable`` to some requests only.

    ``value``: the value that all requests share.
    """
    if directive.name in _BY_CASES:
        return directive.args[-1] == variable and _has_cases(directive)
    return directive.args[0] == variable and directive.name.startswith(_ASSIGNING) and directive.args[1:] != (value,)


def _has_cases(directive: Directive) -> bool:
    """Return whether the value of a ``map`` or its like differs between the requests of one worker."""
    lines = directive.block or ()
    constant = directive.name == "map" and not _varies(directive.args[0])
    return (not constant and any(line.name != "default" for line in lines)) or any(
        _varies(argument) for line in lines for argument in line.args
    )


def _varies(text: str) -> bool:
    return "$" in text and text not in _CONSTANT


def has_spool(configuration: Configuration) -> bool:
    return any(
        directive.name == "lua_shared_dict" and directive.args[:1] == (SPOOL,) for directive in _http(configuration)
    )


def user(configuration: Configuration) -> tuple[str, ...]:
    """Return the words of the ``user`` directive; empty where there is none."""
    return next((directive.args for directive in configuration.directives if directive.name == "user"), ())


def pid_file(configuration: Configuration) -> str | None:
    return next(
        (directive.args[0] for directive in configuration.directives if directive.name == "pid" and directive.args),
        None,
    )


def error_logs(configuration: Configuration) -> list[str]:
    """Return the files that the master writes to, from the ``error_log`` directives outside of all blocks."""
    named = [
        directive.args[0] for directive in configuration.directives if directive.name == "error_log" and directive.args
    ]
    return [name for name in named if name != "stderr" and not name.startswith(("syslog:", "memory:"))]


def working_directory(configuration: Configuration) -> str | None:
    return next(
        (
            directive.args[0]
            for directive in configuration.directives
            if directive.name == "working_directory" and directive.args
        ),
        None,
    )


def mentions_us(configuration: Configuration, texts: Mapping[str, str | None]) -> bool:
    """Return whether any part of the configuration, or of the Lua files that it names, belongs to this project."""
    words = (word for directive in _http(configuration) for word in directive.args)
    return any(_OURS.search(word) is not None for word in (*words, *filter(None, texts.values())))
