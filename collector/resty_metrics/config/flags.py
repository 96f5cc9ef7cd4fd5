"""What flags and environment variables say, as a layer: those of the sources put together.

Rules:
- The flags of connections (``--source.timeout`` and so on) are for all sources that flags give; where there are none,
  they are refused, since they would not do what they say.
- Sources are one list: given by flags, the file's are not used.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from resty_metrics.config.names import OF_SOURCES, name
from resty_metrics.config.problem import ConfigError, Problem
from resty_metrics.config.settings import Layer
from resty_metrics.sources.source import DEFAULT_TIMEOUT, Authorization, BasicAuth, Connection, Source, Tls

_SOURCES = ("source_stub_status", "source_vts")
_OF_SOURCES = {name(flag): flag for flag in OF_SOURCES}
_TLS = {key: key.removeprefix("source_tls_") for key in _OF_SOURCES if key.startswith("source_tls_")}
_DERIVED = "source_vts_derived"
_PAIRS = (
    ("source_tls_cert_file", "source_tls_key_file"),
    ("source_basic_auth_username", "source_basic_auth_password_file"),
)


def layer(values: Mapping[str, Any]) -> Layer:
    """``values``: read, by the flag's name, only those that were given. Raises ConfigError, which names the flags."""
    found = {key: value for key, value in values.items() if key not in (*_SOURCES, *_OF_SOURCES)}
    sources = [source for kind in _SOURCES for source in values.get(kind, ())]
    given = {key: values[key] for key in _OF_SOURCES if key in values}
    problems = [Problem(None, _OF_SOURCES[key], words) for key, words in _between(given, sources)]
    if problems:
        raise ConfigError("", problems)
    if sources:
        connection = _connection(given)
        derived = given.get(_DERIVED, True)
        found["sources"] = tuple(
            replace(one, connection=connection, derived=derived if one.kind == "vts" else True) for one in sources
        )
    return found


def _between(given: Mapping[str, Any], sources: Sequence[Source]) -> Iterator[tuple[str, str]]:
    """What is wrong between flags, each with the one to name."""
    if not sources:
        yield from ((key, "it is for the sources of --source.stub-status and --source.vts: give one") for key in given)
        return
    https = any(one.url.lower().startswith("https://") for one in sources)
    yield from ((key, "needs a source that begins with https://") for key in given if key in _TLS and not https)
    if _DERIVED in given and not any(one.kind == "vts" for one in sources):
        yield _DERIVED, "it is for the sources of --source.vts: give one"
    for pair in _PAIRS:
        for one, other in (pair, pair[::-1]):
            if one in given and other not in given:
                yield one, f"needs {_OF_SOURCES[other]} beside it"
    if "source_basic_auth_username" in given and "source_bearer_token_file" in given:
        yield "source_bearer_token_file", "give this or --source.basic-auth.username, not both"


def _connection(given: Mapping[str, Any]) -> Connection:
    user, token = given.get("source_basic_auth_username"), given.get("source_bearer_token_file")
    return Connection(
        timeout=given.get("source_timeout", DEFAULT_TIMEOUT),
        host=given.get("source_host"),
        tls=Tls(**{field: given[key] for key, field in _TLS.items() if key in given}),
        basic_auth=None if user is None else BasicAuth(user, given["source_basic_auth_password_file"]),
        authorization=None if token is None else Authorization(token),
    )
