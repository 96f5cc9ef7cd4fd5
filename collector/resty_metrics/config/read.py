"""The reading of a configuration file's text, into a layer or a list of all its problems.

Rules:
- Pure: text that depends on the machine is read by functions that the caller passes.
- All problems are reported at once: conflicts between keys are checked on the written text, even if values are invalid.
- The text of a problem comes from the function that reads the value, or else quotes no value.
"""

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from resty_metrics.config.declaration import Listed, Readers, Setting
from resty_metrics.config.declared import LISTS, SETTINGS, keys
from resty_metrics.config.document import Document, Path, name_of, parse
from resty_metrics.config.problem import Problem
from resty_metrics.config.settings import Layer

Entries = Iterable[Setting | Listed]


def read(text: str, readers: Readers) -> tuple[Layer, Document]:
    """Return the layer, and the document with its lines and problems. If there are problems, the layer is empty."""
    document = parse(text)
    if document.problems and document.tree is None:
        return {}, document
    tree = {} if document.tree is None else document.tree
    values = _Reading(document, readers).section(tree, (*SETTINGS, *LISTS), (), "")
    document.problems += [Problem(document.line(path), name_of(path), words) for path, words in _between(tree)]
    if document.problems:
        return {}, document
    layer = {key.replace(".", "_"): value for key, value in values.items()}
    for listed in LISTS:
        if listed.key in layer:
            layer[listed.key] = tuple(map(listed.build, layer[listed.key]))
    return layer, document


def single(value: object) -> str:
    """Return the text of a single value. Raises ValueError."""
    if not isinstance(value, str):
        raise ValueError(f"give one value, not a {'list' if isinstance(value, list) else 'mapping'}")
    return value


class _Reading:
    """The reading of a document into values by key. Errors become problems of the document."""

    def __init__(self, document: Document, readers: Readers) -> None:
        self._document = document
        self._readers = readers

    def section(self, tree: Any, entries: Entries, path: Path, before: str) -> dict[str, Any]:
        """Return the values below ``path``. ``before``: the prefix of their keys, for example ``tls_config.``"""
        below = _below(entries, before)
        if not isinstance(tree, dict):
            self._problem(path, f"give keys and values: {', '.join(below)}")
            return {}
        values: dict[str, Any] = {}
        for name, value in tree.items():
            match below.get(name):
                case Setting() as setting:
                    values[setting.key] = self._value(value, setting, (*path, name))
                case Listed() as listed:
                    values[listed.key] = self._items(value, listed, (*path, name))
                case _ if name in below:
                    values |= self.section(value, entries, (*path, name), f"{before}{name}.")
                case _:
                    self._problem((*path, name), f"unknown key. {_nearest(name, path, list(below))}")
        for name, entry in below.items():
            if isinstance(entry, Setting) and entry.needed and name not in tree:
                self._problem((*path, name), "this key is required")
        return values

    def _items(self, value: Any, listed: Listed, path: Path) -> list[dict[str, Any]]:
        items = self._list(value, path)
        return [self.section(item, listed.settings, (*path, at), "") for at, item in enumerate(items)]

    def _value(self, value: Any, setting: Setting, path: Path) -> Any:
        read = setting.reader(self._readers)
        if not setting.repeatable:
            return self._text(value, read, path)
        items = self._list([value] if isinstance(value, str) else value, path)
        if value == [] and setting.default is not None:
            self._problem(path, "give at least one")
        return tuple(self._text(item, read, (*path, at)) for at, item in enumerate(items))

    def _list(self, value: Any, path: Path) -> list[Any]:
        if isinstance(value, list):
            return value
        self._problem(path, "give a list")
        return []

    def _text(self, value: Any, read: Callable[[str], Any], path: Path) -> Any:
        try:
            return read(single(value))
        except ValueError as error:
            self._problem(path, str(error))
            return None

    def _problem(self, path: Path, words: str) -> None:
        self._document.problems.append(Problem(self._document.line(path), name_of(path), words))


def _below(entries: Entries, before: str) -> dict[str, Setting | Listed | None]:
    """Return the entries by name below the prefix ``before``, in their order; None for a section."""
    names: dict[str, Setting | Listed | None] = {}
    for entry in entries:
        if entry.key.startswith(before):
            name, _, more = entry.key.removeprefix(before).partition(".")
            names[name] = None if more else entry
    return names


def _nearest(wrong: str, path: Path, known: list[str]) -> str:
    """Return a hint for a wrong key: a similar key beside it, else one elsewhere, else the keys known here."""
    beside = difflib.get_close_matches(wrong, known, n=1)
    if beside:
        return f"Did you mean {name_of((*path, beside[0]))}?"
    everywhere = {key.rpartition(".")[2]: key for key in reversed(list(keys()))}
    elsewhere = difflib.get_close_matches(wrong, everywhere, n=1, cutoff=0.85)
    if elsewhere:
        return f"Did you mean {everywhere[elsewhere[0]]}?"
    return f"Known keys: {', '.join(known)}"


def _between(tree: Any) -> Iterator[tuple[Path, str]]:
    """Yield the conflicts between keys of all sources: (path, text of the problem)."""
    sources = tree.get("sources") if isinstance(tree, dict) else None
    if not isinstance(sources, list):
        return
    first_index: dict[tuple[object, object], int] = {}
    for at, source in enumerate(sources):
        if not isinstance(source, dict):
            continue
        path: Path = ("sources", at)
        yield from _within(source, path)
        pair = (str(source.get("kind")), str(source.get("name")))
        if pair in first_index:
            yield (
                (*path, "name"),
                f"give each {pair[0]} source a name of its own; this one has that of sources[{first_index[pair]}]",
            )
        first_index.setdefault(pair, at)


def _within(source: Mapping[str, Any], path: Path) -> Iterator[tuple[Path, str]]:
    """Yield the conflicts between keys of one source: (path, text of the problem)."""
    if "basic_auth" in source and "authorization" in source:
        yield (*path, "authorization"), "give basic_auth or authorization, not both"
    if "derived" in source and source.get("kind") == "stub_status":
        yield (*path, "derived"), "applies only to vts"
    tls = source.get("tls_config")
    if not isinstance(tls, dict):
        return
    for file, partner in (("cert_file", "key_file"), ("key_file", "cert_file")):
        if file in tls and partner not in tls:
            yield (*path, "tls_config", file), f"requires {partner} as well"
    url = source.get("url")
    if tls and isinstance(url, str) and not url.lower().startswith("https://"):
        yield (*path, "tls_config"), "requires a URL that begins with https://"
