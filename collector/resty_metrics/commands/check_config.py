"""The work of ``check-config``: it reads the configuration as a start does, and tries the files that it names."""

from collections.abc import Iterator, Sequence

from resty_metrics.config import flags
from resty_metrics.config.document import Document, name_of
from resty_metrics.config.file import read_file
from resty_metrics.config.load import Inputs
from resty_metrics.config.problem import ConfigError, Problem
from resty_metrics.config.settings import Layer, merged
from resty_metrics.config.show import as_yaml
from resty_metrics.sources import credentials
from resty_metrics.sources.errors import SourceError
from resty_metrics.sources.source import Connection, Source
from resty_metrics.web import policy


def checked(inputs: Inputs) -> str:
    """Return the configuration in force, as YAML. Raises ConfigError with all problems."""
    flag_layer = flags.layer(inputs.values)
    written: Layer = {}
    document = Document()
    if inputs.path is not None:
        written, document = read_file(inputs.path, look=True)
    settings = merged(flag_layer, written)
    if "sources" in flag_layer:
        unusable = dict.fromkeys(words for source in settings.sources for _, words in _unusable(source.connection))
        _refuse("", [Problem(None, "", words) for words in unusable])
    else:
        _refuse(str(inputs.path or ""), list(_problems(settings.sources, document)))
    policy.load(settings.web_config_file)
    return as_yaml(settings)


def _refuse(file: str, problems: Sequence[Problem]) -> None:
    if problems:
        raise ConfigError(file, problems)


def _problems(sources: Sequence[Source], document: Document) -> Iterator[Problem]:
    for at, source in enumerate(sources):
        for key, words in _unusable(source.connection):
            path = ("sources", at, key)
            yield Problem(document.line(path), name_of(path), words)


def _unusable(connection: Connection) -> Iterator[tuple[str, str]]:
    """Yield the key of each part that cannot be used, and the reason."""
    try:
        credentials.context(connection.tls)
    except SourceError as error:
        yield "tls_config", str(error)
    try:
        credentials.authorization(connection)
    except SourceError as error:
        yield ("authorization" if connection.basic_auth is None else "basic_auth"), str(error)
