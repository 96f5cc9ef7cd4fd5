"""The configuration in force in the form of a configuration file: every key, and the file names of secrets."""

from collections.abc import Callable, Iterable
from typing import Any

import yaml

from resty_metrics.config.declaration import Listed, Setting
from resty_metrics.config.declared import LISTS, SETTINGS
from resty_metrics.config.settings import Settings

Tree = dict[str, Any]


def as_yaml(settings: Settings) -> str:
    """Return YAML that reads back as the same settings."""
    tree = _tree(SETTINGS, lambda setting: setting.to_yaml(getattr(settings, setting.name)))
    for listed in LISTS:
        tree[listed.key] = [_item(listed, item) for item in getattr(settings, listed.key)]
    return yaml.safe_dump(tree, sort_keys=False, allow_unicode=True, width=1000)


def _item(listed: Listed, item: Any) -> Tree:
    """Return an item without the switches that are off."""
    parts = listed.parts(item)

    def value_of(setting: Setting) -> Any:
        value = parts.get(setting.key)
        return None if value is None or (setting.switch and not value) else setting.to_yaml(value)

    return _tree(listed.settings, value_of)


def _tree(settings: Iterable[Setting], value_of: Callable[[Setting], Any]) -> Tree:
    """Return sections and keys without the keys that are not set."""
    tree: Tree = {}
    for setting in settings:
        value, branch = value_of(setting), tree
        if value is not None:
            *sections, key = setting.key.split(".")
            for section in sections:
                branch = branch.setdefault(section, {})
            branch[key] = value
    return tree
