"""What ``check-config`` does: the configuration as at a start, and what it names, looked at."""

from collector.config import flags
from collector.config.load import Given, read_file
from collector.config.settings import merged
from collector.config.show import as_yaml
from collector.web import policy


def checked(given: Given) -> str:
    """The configuration in force, as YAML. Raises ConfigError with all that is wrong."""
    said = flags.layer(given.values)
    settings = merged(said) if given.path is None else merged(said, read_file(given.path, look=True)[0])
    policy.load(settings.web_config_file)
    return as_yaml(settings)
