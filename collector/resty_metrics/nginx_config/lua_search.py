"""The files in which nginx's Lua finds a module. Pure.

Source: lua-nginx-module's ngx_http_lua_util.c (``ngx_http_lua_set_path``): ``;;`` is the default path, and ``$prefix``
is nginx's prefix. A relative path begins at the directory in which nginx was started.
"""

from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath

from resty_metrics.nginx_config.dump import Configuration

# Debian's default path, then OpenResty's below its prefix.
_DEFAULT = "/usr/local/share/lua/5.1/?.lua;/usr/local/share/lua/5.1/?/init.lua;/usr/share/lua/5.1/?.lua;"
_OF_PREFIX = "$prefix/../site/lualib/?.lua;$prefix/../lualib/?.lua"


def candidates(name: str, configuration: Configuration, prefix: str) -> Iterator[str]:
    """Yield the paths at which ``require(name)`` looks, in its order. A relative path stays relative."""
    for template in _templates(configuration, prefix):
        yield str(PurePosixPath(template.replace("?", name.replace(".", "/"))))


def text_of(name: str, configuration: Configuration, prefix: str, texts: Mapping[str, str | None]) -> str | None:
    """Return the code of a module from the texts that were read; None where it was not found."""
    sources = (text_at(path, texts) for path in candidates(name, configuration, prefix))
    return next((text for text in sources if text is not None), None)


def text_at(path: str, texts: Mapping[str, str | None]) -> str | None:
    """Return the text of a path, which may be relative to a directory that is not known here."""
    if path.startswith("/"):
        return texts.get(path)
    return next((text for known, text in texts.items() if known.endswith(f"/{path}")), None)


def _templates(configuration: Configuration, prefix: str) -> Iterator[str]:
    stated = ";;"
    for http in configuration.blocks("http"):
        for directive in http.block or ():
            if directive.name == "lua_package_path" and directive.args:
                stated = directive.args[0]
    whole = stated.replace(";;", f";{_DEFAULT}{_OF_PREFIX};").replace("${prefix}", prefix).replace("$prefix", prefix)
    yield from (template for template in whole.split(";") if template)
