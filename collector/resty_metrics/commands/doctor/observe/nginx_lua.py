"""The Lua files that nginx's configuration leads to: those of hooks, the modules they load, and our own."""

from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from resty_metrics.kernel import paths as files
from resty_metrics.nginx_config import build, hooks, lua_search, statements
from resty_metrics.nginx_config.dump import Configuration

_MOST_FILES = 200


def texts(configuration: Configuration, prefix: str, directory: str, root: Path) -> dict[str, str | None]:
    """Read the Lua files of hooks, and the files that their code loads where those exist.

    ``directory``: nginx's working directory.
    """
    contents = {path: _read(path, root) for path in sorted(hooks.lua_files(configuration, prefix))}
    tried = set(contents)
    while True:
        loaded = {str(PurePosixPath(directory) / path) for path in hooks.loaded_files(configuration, prefix, contents)}
        new = sorted(loaded - tried)
        if not new:
            return contents
        tried.update(new)
        for path in new:
            text = _read(path, root) if len(contents) < _MOST_FILES else None
            if text is not None:
                contents[path] = text


def module_files(
    configuration: Configuration, prefix: str, directory: str, texts: Mapping[str, str | None], root: Path
) -> list[str]:
    """Return the files of our Lua module, from the directory that the configuration names or where nginx finds it."""
    if not statements.mentions_us(configuration, texts):
        return []
    share = hooks.named_share(configuration, texts)
    if share is not None:
        return list(files.beside(f"{share}/lua/resty/metrics/hook.lua", root))
    for candidate in lua_search.candidates("resty.metrics", configuration, prefix):
        path = PurePosixPath(directory) / candidate
        if files.identity(files.below(root, str(path))) is not None:
            return list(files.beside(str(path.with_suffix("") / "hook.lua"), root))
    return list(files.beside(f"{hooks.INSTALLED}/lua/resty/metrics/hook.lua", root))


def versions(lua: list[str], root: Path) -> dict[str, str]:
    pairs = ((path, build.module_version(files.read(files.below(root, path)) or "")) for path in lua[:1])
    return {path: version for path, version in pairs if version is not None}


def _read(path: str, root: Path) -> str | None:
    return files.read(files.below(root, path), "surrogateescape")
