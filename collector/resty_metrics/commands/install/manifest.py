"""``manifest.json`` in the installed directory: a list of all additions, so that exactly these are removed.

Rules:
- A file is known by its SHA-256 as it was written: if it differs now, somebody else changed it.
- Several nginx may share one directory: each has its entry in ``configurations``, and the files go with the last one.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace

from resty_metrics.commands.install.refused import RefusedError

NAME = "manifest.json"
SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Added:
    """One configuration.

    ``path``: the file; ``text``: all of a file of ours, or the text that was added to a user's file.
    """

    main_file: str
    path: str
    text: str
    whole_file: bool

    @property
    def shown(self) -> str:
        """The text as it is in a dump of the configuration: ``text`` has one character for each byte."""
        return self.text.encode("latin-1").decode("utf-8", "surrogateescape")


@dataclass(frozen=True, slots=True)
class Manifest:
    """The record of an installation. ``version``: that of the files; ``files``: digests by path below the directory.

    ``directories``: those above it that install created, outermost first."""

    version: str
    files: Mapping[str, str]
    configurations: tuple[Added, ...]
    directories: tuple[str, ...] = ()

    def of(self, main_file: str) -> Added | None:
        return next((added for added in self.configurations if added.main_file == main_file), None)

    def without(self, main_file: str) -> "Manifest":
        return replace(
            self, configurations=tuple(added for added in self.configurations if added.main_file != main_file)
        )


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def write(manifest: Manifest) -> bytes:
    added = [
        {"main_file": entry.main_file, "path": entry.path, "text": entry.text, "whole_file": entry.whole_file}
        for entry in manifest.configurations
    ]
    written = {
        "schema": SCHEMA,
        "version": manifest.version,
        "files": dict(manifest.files),
        "configurations": added,
        "directories": list(manifest.directories),
    }
    return (json.dumps(written, indent=1, sort_keys=True) + "\n").encode()


def read(content: bytes, path: str) -> Manifest:
    """Read a manifest. Raises RefusedError where the text is not one that ``write`` makes."""
    try:
        value = json.loads(content)
        if value["schema"] != SCHEMA:
            raise ValueError(f"schema {value['schema']!r}")
        added = tuple(
            Added(str(entry["main_file"]), str(entry["path"]), str(entry["text"]), bool(entry["whole_file"]))
            for entry in value["configurations"]
        )
        files = {str(name): str(digest_at_install) for name, digest_at_install in value["files"].items()}
        return Manifest(str(value["version"]), files, added, tuple(map(str, value.get("directories", ()))))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        words = "Restore it, or remove it and the lines of resty-metrics by hand"
        raise RefusedError(f"{path} is not a manifest of install ({error}). {words}") from None
