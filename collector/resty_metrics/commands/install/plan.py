"""The changes after which nginx counts: the bytes of each file before and after. Pure.

Rules:
- A file that somebody changed since it was written is not lost. A file of ``nginx.conf.d`` is kept as it is. A Lua file
  is replaced, since all must be of one version, and the changed one is kept beside it as ``.saved``.
- Anything that the configuration already has is left alone.
"""

import re
from collections.abc import Mapping

from resty_metrics import __version__
from resty_metrics.commands.install import manifest, obstacles, placement
from resty_metrics.commands.install.facts import CONF, INCLUDES, Change, Facts, Plan
from resty_metrics.commands.install.manifest import Added, Manifest
from resty_metrics.commands.install.refused import RefusedError
from resty_metrics.nginx_config import code_cache, hooks
from resty_metrics.nginx_config.hooks import Hooks
from resty_metrics.process.command_line import DEFAULT_SOCKET

SAVED = ".saved"
PLAIN_PATH = re.compile(r"/[\w./+@,-]+")


def make(facts: Facts) -> Plan:
    """Make the plan. Raises RefusedError, with every reason that there is."""
    found = hooks.find(facts.configuration, facts.prefix, facts.texts)
    reasons = obstacles.find(facts, found)
    if reasons:
        raise RefusedError(*reasons)
    files, notes, digests = ([], [], {}) if facts.ours is None else _files(facts, facts.ours)
    notes += obstacles.shadows(facts, (hook for hook in found.inner if not hook.counts))
    notes += obstacles.notes_of(code_cache.find(facts.configuration))
    notes += unread(facts)
    change, added = (None, _noted(facts)) if obstacles.is_there(facts, found) else _configuration(facts, found)
    configuration = () if change is None else (change,)
    return Plan((*files, *_manifest(facts, digests, added, bool(files or configuration))), configuration, tuple(notes))


def unread(facts: Facts) -> list[str]:
    """Return notes about changes that the reload applies besides the plan."""
    return [f"{path} was changed after nginx read it: the reload applies that change too" for path in facts.unread]


def _noted(facts: Facts) -> Added | None:
    return None if facts.manifest is None else facts.manifest.of(facts.configuration.main_file)


def _files(facts: Facts, ours: Mapping[str, bytes]) -> tuple[list[Change], list[str], dict[str, str]]:
    """Return the changes below the directory, the notes about them, and the digests for the manifest."""
    changes: list[Change] = []
    notes: list[str] = []
    written = {} if facts.manifest is None else facts.manifest.files
    for name, content in sorted(ours.items()):
        path, before = f"{facts.share}/{name}", facts.present.get(name)
        configures = name.startswith(f"{CONF}/")
        if before == content:
            continue
        if before is not None and written.get(name) != manifest.digest(before):
            if configures:
                notes.append(f"{path} differs from what install would write, and is kept, since it may be yours")
                continue
            if facts.manifest is not None:
                notes.append(f"{path} was changed after the installation. The changed file is kept as {path}{SAVED}")
                changes.append(Change(path + SAVED, facts.present.get(name + SAVED), before, diff=False))
        changes.append(Change(path, before, content, diff=configures and before is not None))
    for name in sorted(written.keys() - ours.keys()):
        before = facts.present.get(name)
        if before is not None and written[name] == manifest.digest(before):
            changes.append(Change(f"{facts.share}/{name}", before, None, diff=False))
    return changes, notes, {name: manifest.digest(content) for name, content in ours.items()}


def _manifest(facts: Facts, digests: Mapping[str, str], added: Added | None, changed: bool) -> list[Change]:
    """Return the change of the manifest. Files that were put there by hand, and are correct, do not become ours."""
    if facts.manifest is None and not changed:
        return []
    others = () if facts.manifest is None else facts.manifest.without(facts.configuration.main_file).configurations
    content = manifest.write(Manifest(__version__, digests, (*others, *([added] if added else []))))
    before = facts.present.get(manifest.NAME)
    return [] if before == content else [Change(f"{facts.share}/{manifest.NAME}", before, content, diff=False)]


def statements(facts: Facts, found: Hooks) -> list[str]:
    """Return the lines for the configuration. Raises RefusedError for a path that nginx would read otherwise."""
    lines = [f"include {facts.include(INCLUDES[0] if found.outer is None else INCLUDES[1])};"]
    if facts.socket_path != DEFAULT_SOCKET:
        if not PLAIN_PATH.fullmatch(facts.socket_path):
            raise RefusedError(
                f"--socket.path={facts.socket_path!r}: a path of letters, digits and any of . / _ + @ , - is needed"
            )
        lines.append(f"geo $resty_metrics_socket {{ default {facts.socket_path}; }}")
    return lines


def _configuration(facts: Facts, found: Hooks) -> tuple[Change, Added]:
    lines = statements(facts, found)
    main = facts.configuration.main_file
    for path in placement.files(facts.configuration):
        if path not in facts.snippets:
            continue
        if facts.snippets[path] is not None:
            raise RefusedError(f"{path} exists, but install did not write it. Move it away, and run this again")
        text = placement.own_file(lines)
        return Change(path, None, text), Added(main, path, text.decode("latin-1"), whole_file=True)
    place = placement.line(facts.configuration)
    assert place is not None  # otherwise there was an obstacle
    after, put_in = placement.added(facts.http_file, place, lines)
    added = Added(main, place.file, put_in.decode("latin-1"), whole_file=False)
    return Change(place.file, facts.http_file, after), added
