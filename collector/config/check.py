"""What ``check-config`` does: the configuration as at a start, and what it names, looked at."""

from collector.config import flags
from collector.config.load import Given, read_file
from collector.config.settings import merged
from collector.config.show import as_yaml


def checked(given: Given) -> str:
    """The configuration in force, as YAML. Raises ConfigError with all that is wrong."""
    said = flags.layer(given.values)
    if given.path is None:
        return as_yaml(merged(said))
    return as_yaml(merged(said, read_file(given.path, look=True)[0]))
