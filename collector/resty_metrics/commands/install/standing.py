"""Text of an earlier install in nginx's configuration, as far as it is still there. Pure."""

from dataclasses import dataclass

from resty_metrics.commands.install import rewritten
from resty_metrics.commands.install.facts import CONF, INCLUDES, Facts
from resty_metrics.commands.install.manifest import Added
from resty_metrics.nginx_config.dump import Include


@dataclass(frozen=True, slots=True)
class Standing:
    """``added`` None: no install is recorded for this configuration. ``as_written``: nobody changed its text since."""

    added: Added | None
    as_written: bool

    @property
    def text(self) -> str:
        """The text that may be replaced; "" where there is none."""
        return self.added.text if self.added is not None and self.as_written else ""

    @property
    def has_hook(self) -> bool:
        return any(f"/{CONF}/{name};" in self.text for name in INCLUDES)

    def owns(self, file: str, text: str) -> bool:
        """Return whether ``text``, which stands in a file of the configuration, is of the earlier install."""
        if self.added is None or file != self.added.path:
            return False
        return self.added.whole_file or rewritten.contains(self.added.shown, text)

    def owns_include(self, include: Include) -> bool:
        return self.owns(include.file, include.pattern)


def of(facts: Facts) -> Standing:
    added = None if facts.manifest is None else facts.manifest.of(facts.configuration.main_file)
    now = None if added is None else facts.snippets.get(added.path)
    if added is None or now is None:
        return Standing(added, as_written=False)
    text = added.text.encode("latin-1")
    return Standing(added, now == text if added.whole_file else now.count(text) == 1)
