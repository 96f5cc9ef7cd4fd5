"""The text of a configuration file as a checked model, or everything that is wrong with it.

Rules:
- Pure: what depends on the machine is read by functions that are given.
- All problems at once: what lies between keys is judged on what was written, whatever else is wrong.
- Words about a value come from the function that reads it, or name no value.
"""

import difflib
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from resty_metrics.config.document import Document, Path, name_of, parse
from resty_metrics.config.model import Configuration, Readers
from resty_metrics.config.problem import Problem


def read(text: str, readers: Readers) -> tuple[Configuration, Document]:
    """The configuration, and the document, which knows the lines. With problems in the document, it is all defaults."""
    document = parse(text)
    if document.problems and document.tree is None:
        return Configuration(), document
    tree = {} if document.tree is None else document.tree
    found = Configuration()
    try:
        found = Configuration.model_validate(tree, context=readers)
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
        document.problems += [_problem(detail, document) for detail in details]
    document.problems += [Problem(document.line(path), name_of(path), words) for path, words in _between(tree)]
    return (Configuration() if document.problems else found), document


def _problem(detail: ErrorDetails, document: Document) -> Problem:
    path: Path = detail["loc"]
    return Problem(document.line(path), name_of(path), _words(detail, path))


def _words(detail: ErrorDetails, path: Path) -> str:
    match detail["type"]:
        case "extra_forbidden":
            return f"no such key; {_nearest(path)}"
        case "missing":
            return "this key is needed"
        case "model_type" | "model_attributes_type":
            known = ", ".join(_fields_at(path))
            return f"give keys and values: {known}"
        case "list_type":
            return "give a list"
        case "too_short":
            return "give at least one"
        case "value_error":
            return str(detail["ctx"]["error"])
    return detail["msg"]


def _model_of(annotation: Any) -> type[BaseModel] | None:
    """The model in ``Model``, ``list[Model]`` or ``Model | None``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for part in getattr(annotation, "__args__", ()):
        found = _model_of(part)
        if found is not None:
            return found
    return None


def _section(path: Path) -> type[BaseModel]:
    """The model of the keys below ``path``."""
    model: type[BaseModel] = Configuration
    for part in path:
        field = model.model_fields.get(part) if isinstance(part, str) else None
        model = (_model_of(field.annotation) if field is not None else None) or model
    return model


def _fields_at(path: Path) -> list[str]:
    return list(_section(path).model_fields)


def keys(model: type[BaseModel] = Configuration, before: str = "") -> Iterator[str]:
    """Every key of a value: ``socket.path``, ``sources[].url``."""
    for name, field in model.model_fields.items():
        below = _model_of(field.annotation)
        if below is None:
            yield f"{before}{name}"
        else:
            several = "[]" if getattr(field.annotation, "__origin__", None) is list else ""
            yield from keys(below, f"{before}{name}{several}.")


def _nearest(path: Path) -> str:
    """The key that was meant: one beside it, else one of that name elsewhere."""
    wrong, known = str(path[-1]), _fields_at(path[:-1])
    beside = difflib.get_close_matches(wrong, known, n=1)
    if beside:
        return f"did you mean {name_of((*path[:-1], beside[0]))}?"
    everywhere = {key.rpartition(".")[2]: key for key in reversed(list(keys()))}
    elsewhere = difflib.get_close_matches(wrong, everywhere, n=1, cutoff=0.85)
    if elsewhere:
        return f"did you mean {everywhere[elsewhere[0]]}?"
    return f"known here: {', '.join(known)}"


def _between(tree: Any) -> Iterator[tuple[Path, str]]:
    """What is wrong between keys of the sources."""
    sources = tree.get("sources") if isinstance(tree, dict) else None
    if not isinstance(sources, list):
        return
    seen: dict[tuple[object, object], int] = {}
    for at, source in enumerate(sources):
        if not isinstance(source, dict):
            continue
        path: Path = ("sources", at)
        yield from _within(source, path)
        who = (str(source.get("kind")), str(source.get("name")))
        if who in seen:
            yield (
                (*path, "name"),
                f"several {who[0]} sources need names of their own; this one is as sources[{seen[who]}]",
            )
        seen.setdefault(who, at)


def _within(source: Mapping[str, Any], path: Path) -> Iterator[tuple[Path, str]]:
    """What is wrong between keys of one source."""
    if "basic_auth" in source and "authorization" in source:
        yield (*path, "authorization"), "give basic_auth or authorization, not both"
    if "derived" in source and source.get("kind") == "stub_status":
        yield (*path, "derived"), "is for vts"
    tls = source.get("tls_config")
    if not isinstance(tls, dict):
        return
    for one, other in (("cert_file", "key_file"), ("key_file", "cert_file")):
        if one in tls and other not in tls:
            yield (*path, "tls_config", one), f"needs {other} beside it"
    url = source.get("url")
    if tls and isinstance(url, str) and not url.lower().startswith("https://"):
        yield (*path, "tls_config"), "needs a URL that begins with https://"
