"""What a version leaves to the next one, as the next one understands it."""

from collections.abc import Sequence
from pathlib import Path

from click.core import ParameterSource
from resty_metrics.commands.cli import serve
from resty_metrics.config.flags import layer
from resty_metrics.config.load import Inputs, load
from resty_metrics.config.settings import merged
from resty_metrics.config.show import as_yaml

_OF_THE_PROCESS = ("resty_metrics_", "process_", "python_")
_OUR_WORDS = "# HELP nginx_http_"  # which may change


def counted(page: str) -> str:
    """The page without what the collector says of itself, and without our own help texts."""
    lines = page.splitlines(keepends=True)
    names = [line.removeprefix("# HELP ").removeprefix("# TYPE ") for line in lines]
    kept = (line for line, name in zip(lines, names, strict=True) if not name.startswith(_OF_THE_PROCESS))
    return "".join(line for line in kept if not line.startswith(_OUR_WORDS))


def shown_of_file(path: Path) -> str:
    """The configuration in force, as YAML."""
    return as_yaml(load(Inputs({}, path)))


def shown_of_flags(words: Sequence[str]) -> str:
    """The same, of a command line."""
    context = serve.make_context("serve", list(words))
    given = {
        name: value
        for name, value in context.params.items()
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE
    }
    return as_yaml(merged(layer(given), {}))
