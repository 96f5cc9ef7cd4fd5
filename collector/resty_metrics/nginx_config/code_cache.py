"""Find ``lua_code_cache off``: Lua code is loaded anew for each request there, so nothing can be counted. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass

from resty_metrics.nginx_config.dump import Configuration, Directive
from resty_metrics.nginx_config.hooks import Hook, scope

_NAME = "lua_code_cache"


@dataclass(frozen=True, slots=True)
class Uncached:
    """The places where it is off.

    ``places``: each directive with its block in words; ``servers``: those that have it off as a whole; ``everywhere``:
    no server is left.
    """

    places: tuple[tuple[Directive, str], ...]
    servers: tuple[Directive, ...]
    everywhere: bool

    @property
    def hooks(self) -> list[Hook]:
        """Return a hook that does not count for each of those servers."""
        return [
            Hook(first, scope(server), counts=False) for server in self.servers for first in (server.block or ())[:1]
        ]


def find(configuration: Configuration) -> Uncached:
    places: dict[str, tuple[Directive, str]] = {}
    servers: list[Directive] = []
    counting = 0
    for http in configuration.blocks("http"):
        outer = _own(http)
        of_http = [server for server in http.block or () if server.name == "server"]
        off = [server for server in of_http if _is_off(_own(server) or outer)]
        servers += off
        counting += len(of_http) - len(off)
        if outer is not None and _is_off(outer) and (off or not of_http):
            places[outer.place] = (outer, "http{}")
        for block, words in _inside(http):
            own = _own(block)
            if own is not None and _is_off(own):
                places.setdefault(own.place, (own, words))
    return Uncached(tuple(places.values()), tuple(servers), bool(places) and counting == 0)


def _own(block: Directive) -> Directive | None:
    return next((directive for directive in block.block or () if directive.name == _NAME), None)


def _is_off(directive: Directive | None) -> bool:
    return directive is not None and directive.args == ("off",)


def _inside(block: Directive, above: str = "") -> Iterator[tuple[Directive, str]]:
    for inner in block.block or ():
        if inner.block is not None:
            words = f"{above}, {scope(inner)}" if above else scope(inner)
            yield inner, words
            yield from _inside(inner, words)
