"""The layer of the flags and environment variables, in which those of the sources become one list.

Rules:
- The flags of connections (``--source.timeout`` and so on) apply to all sources from flags. Without such a source they
  are refused, since they would have no effect.
- Sources are one list: if flags give any, those in the file are not used.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from resty_metrics.config.declared import SOURCE, SOURCE_FLAGS
from resty_metrics.config.names import name
from resty_metrics.config.problem import ConfigError, Problem
from resty_metrics.config.settings import Layer
from resty_metrics.sources.source import Source, build_connection

_SOURCES = [name(setting.flag) for setting in SOURCE_FLAGS if setting.flag is not None]
_FLAG = {setting.key: setting.flag for setting in SOURCE if setting.flag is not None}
_KEY = {name(flag): key for key, flag in _FLAG.items()}
_USERNAME, _TOKEN = "basic_auth.username", "authorization.credentials_file"
_PAIRS = (("tls_config.cert_file", "tls_config.key_file"), (_USERNAME, "basic_auth.password_file"))


def layer(values: Mapping[str, Any]) -> Layer:
    """Return the layer. ``values``: the values given, already read, by the flag's name.

    Raises ConfigError, which names the flags.
    """
    settings = {key: value for key, value in values.items() if key not in (*_SOURCES, *_KEY)}
    sources = [source for kind in _SOURCES for source in values.get(kind, ())]
    by_key = {key: values[flag] for flag, key in _KEY.items() if flag in values}
    problems = [Problem(None, _FLAG[key], words) for key, words in _between(by_key, sources)]
    if problems:
        raise ConfigError("", problems)
    if sources:
        connection = build_connection(by_key)
        derived = by_key.get("derived", True)
        settings["sources"] = tuple(
            replace(source, connection=connection, derived=derived if source.kind == "vts" else True)
            for source in sources
        )
    return settings


def _between(by_key: Mapping[str, Any], sources: Sequence[Source]) -> Iterator[tuple[str, str]]:
    """Yield the conflicts between flags: (key of the flag to name, text of the problem)."""
    if not sources:
        yield from (
            (key, "applies only to sources given by --source.stub-status or --source.vts: give one") for key in by_key
        )
        return
    https = any(source.url.lower().startswith("https://") for source in sources)
    for key in by_key:
        if key.startswith("tls_config.") and not https:
            yield key, "requires a source whose URL begins with https://"
    if "derived" in by_key and not any(source.kind == "vts" for source in sources):
        yield "derived", "applies only to sources given by --source.vts: give one"
    for pair in _PAIRS:
        for key, partner in (pair, pair[::-1]):
            if key in by_key and partner not in by_key:
                yield key, f"requires {_FLAG[partner]} as well"
    if _USERNAME in by_key and _TOKEN in by_key:
        yield _TOKEN, "give this or --source.basic-auth.username, not both"
