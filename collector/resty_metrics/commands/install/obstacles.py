"""Conditions for any change: nginx has Lua, our hook has a place, workers can read our files.

Rule: a user's hook is never edited. The reason names the line to add, with file and line, and nothing else is changed
until it is there.
"""

from collections.abc import Iterable
from pathlib import PurePosixPath

from resty_metrics.commands.install import placement, places
from resty_metrics.commands.install.facts import CONF, INCLUDES, Facts
from resty_metrics.commands.install.places import Place
from resty_metrics.nginx_config import code_cache, hooks, statements
from resty_metrics.nginx_config.code_cache import Uncached
from resty_metrics.nginx_config.dump import Configuration
from resty_metrics.nginx_config.hooks import Hook, Hooks

_LUA = (
    "{label} has no Lua module. On Debian and Ubuntu: apt install libnginx-mod-http-lua. Elsewhere: use OpenResty, or "
    "add load_module {modules}/ngx_http_lua_module.so (after ndk_http_module.so) at the top of {main}. Then run this "
    "again"
)


def included_from(configuration: Configuration) -> str | None:
    """Return the directory whose include is in the configuration already; None where there is no such include."""
    for include in configuration.includes:
        path = PurePosixPath(include.pattern)
        if path.name in INCLUDES and path.parent.name == CONF:
            return str(path.parent.parent)
    return None


def is_there(facts: Facts, log_hooks: Hooks) -> bool:
    """Return whether the configuration has everything that it needs from us. If so, it is left as it is."""
    by_hand = statements.has_spool(facts.configuration) and any(hook.counts is not False for hook in log_hooks.all)
    return included_from(facts.configuration) is not None or by_hand


def find(facts: Facts, log_hooks: Hooks) -> list[str]:
    """Return every reason against a change, each with its remedy."""
    reasons = []
    main = facts.configuration.main_file
    if placement.line(facts.configuration) is None:
        return [f"{main} has no http block, so there are no requests to count"]
    if not facts.lua:
        return [_LUA.format(label=facts.label, modules=facts.modules, main=main)]
    if facts.unreadable is not None:
        reasons.append(facts.unreadable)
    elsewhere = included_from(facts.configuration)
    if elsewhere not in (None, facts.share):
        reasons.append(f"the include of {elsewhere} is in {main} already. Give --share-dir={elsewhere}")
    uncached = code_cache.find(facts.configuration)
    if uncached.everywhere:
        reasons += notes_of(uncached)
    if not is_there(facts, log_hooks):
        reasons += [
            f"{directive.place}: the include declares lua_shared_dict {statements.SPOOL} too: remove that line"
            for directive in hooks.directives(facts.configuration.directives)
            if directive.name == "lua_shared_dict" and directive.args[:1] == (statements.SPOOL,)
        ]
    return reasons + _of_hooks(facts, log_hooks)


def _of_hooks(facts: Facts, log_hooks: Hooks) -> list[str]:
    outer = log_hooks.outer
    if outer is not None and outer.counts is False:
        return [
            f"{outer.directive.place}: {outer.directive.name} in http{{}} is your own, and nginx allows one. Do not "
            f"reload nginx yet. Add to it, {line(facts, outer)} -- then run this again, which reloads nginx"
        ]
    return []


def line(facts: Facts, hook: Hook) -> str:
    """Return the line to add to a hook, and its place."""
    where = hooks.lua_file(hook.directive, facts.prefix)
    file = f" of {where}" if where is not None else ""
    return f"as the first line{file}: {hooks.line_for(hook.directive.name, facts.share)}"


def shadows(facts: Facts, lacking: Iterable[Hook], place: Place = places.present) -> list[str]:
    """Describe the hooks that replace ours, one for each place. ``place``: names the place of a directive."""
    return [_shadow(facts, hook, place) for hook in hooks.by_place(lacking)]


def notes_of(uncached: Uncached, place: Place = places.present) -> list[str]:
    """Describe the places where nothing can be counted because Lua code is not cached."""
    words = "requests there cannot be counted; remove that line"
    return [f"{place(directive)}: lua_code_cache off in {scope}: {words}" for directive, scope in uncached.places]


def _shadow(facts: Facts, hook: Hook, place: Place) -> str:
    """Describe a server's or location's hook that replaces ours, or may replace it."""
    directive = hook.directive
    words = f"{place(directive)}: {directive.name} in {hook.scope}"
    if hook.counts is None:
        return f"{words} may replace ours ({hook.doubt}): {hooks.TEST}"
    return f"{words} replaces ours: add {line(facts, hook)}"
