"""The changes after which nginx counts: the bytes of each file before and after. Pure.

Rules:
- A file that somebody changed since it was written is not lost. A file of ``nginx.conf.d`` is kept as it is. A Lua file
  is replaced, since all must be of one version, and the changed one is kept beside it as ``.saved``.
- Anything that the configuration already has is left alone, but for the text that an earlier install added, as long as
  nobody changed it.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import replace

from resty_metrics import __version__
from resty_metrics.commands.install import manifest, obstacles, optional, placement, places
from resty_metrics.commands.install import standing as standings
from resty_metrics.commands.install.facts import CONF, INCLUDES, Change, Facts, Plan
from resty_metrics.commands.install.manifest import Added, Manifest
from resty_metrics.commands.install.refused import RefusedError
from resty_metrics.commands.install.standing import Standing
from resty_metrics.nginx_config import code_cache, hooks
from resty_metrics.nginx_config.hooks import Hooks
from resty_metrics.process.command_line import DEFAULT_SOCKET

SAVED = ".saved"
PLAIN_PATH = re.compile(r"/[\w./+@,-]+")


def make(facts: Facts, requested: Collection[str] = ()) -> Plan:
    """Make the plan. ``requested``: names of optional files. Raises RefusedError, with every reason that there is."""
    log_hooks = hooks.find(facts.configuration, facts.prefix, facts.texts)
    standing = standings.of(facts)
    reasons = obstacles.find(facts, log_hooks) or optional.against(facts, requested, _own_file(facts, standing))
    if reasons:
        raise RefusedError(*reasons)
    files, notes, digests = ([], [], {}) if facts.ours is None else _files(facts, facts.ours)
    change, added = _configuration(facts, log_hooks, standing, requested)
    place = places.around(change)
    notes += obstacles.shadows(facts, (hook for hook in log_hooks.inner if not hook.counts), place)
    notes += obstacles.notes_of(code_cache.find(facts.configuration), place)
    notes += [note] if (note := optional.note(facts, standing, place)) is not None else []
    notes += [*optional.remarks(requested), *unread(facts)]
    configuration = () if change is None else (change,)
    return Plan((*files, *_manifest(facts, digests, added, bool(files or configuration))), configuration, tuple(notes))


def unread(facts: Facts) -> list[str]:
    """Return notes about changes that the reload applies besides the plan."""
    return [f"{path} was changed after nginx read it: the reload applies that change too" for path in facts.unread]


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
                notes.append(f"{path} is not the file of this version. It is kept, because you may have changed it")
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
    further = () if facts.manifest is None else facts.manifest.without(facts.configuration.main_file).configurations
    above = (*(() if facts.manifest is None else facts.manifest.directories), *facts.absent)
    content = manifest.write(Manifest(__version__, digests, (*further, *([added] if added else [])), above))
    before = facts.present.get(manifest.NAME)
    return [] if before == content else [Change(f"{facts.share}/{manifest.NAME}", before, content, diff=False)]


def _statements(facts: Facts, log_hooks: Hooks, standing: Standing, requested: Collection[str]) -> list[str]:
    """Return the lines for the configuration, those of an earlier install included.

    Raises RefusedError for a path that nginx would read otherwise.
    """
    if facts.socket_path != DEFAULT_SOCKET and not PLAIN_PATH.fullmatch(facts.socket_path):
        raise RefusedError(
            f"--socket.path={facts.socket_path!r}: a path of letters, digits and any of . / _ + @ , - is needed"
        )
    more = optional.includes(facts, standing, requested)
    if obstacles.is_there(facts, log_hooks) and not standing.has_hook:
        return more
    outer = log_hooks.outer is not None and not log_hooks.outer.directive.file.startswith(f"{facts.share}/")
    lines = [f"include {facts.include(INCLUDES[1] if outer else INCLUDES[0])};"]
    if facts.socket_path != DEFAULT_SOCKET:
        lines.append(f"geo $resty_metrics_socket {{ default {facts.socket_path}; }}")
    call = optional.lifecycle(facts, standing)
    return [*lines, *([] if call is None else [call]), *more]


def _own_file(facts: Facts, standing: Standing) -> str | None:
    """Return the path of the file of ours that includes what is added; None where lines go into a user's file."""
    if standing.added is not None and standing.as_written:
        return standing.added.path if standing.added.whole_file else None
    return next((path for path in placement.files(facts.configuration) if path in facts.snippets), None)


def _configuration(
    facts: Facts, log_hooks: Hooks, standing: Standing, requested: Collection[str]
) -> tuple[Change | None, Added | None]:
    """Return the change of the configuration and what it adds in all, for the manifest."""
    added = standing.added
    if added is not None and not standing.as_written and obstacles.is_there(facts, log_hooks):
        missing = optional.missing(facts, requested)
        if missing:
            raise RefusedError(
                f"{added.path} was changed after the installation, and is kept. Add to it: {' '.join(missing)}"
            )
        return None, added
    lines = _statements(facts, log_hooks, standing, requested)
    if not lines:
        return None, added
    if added is not None and standing.as_written:
        return _rewritten(facts, added, lines)
    return _placed(facts, lines)


def _rewritten(facts: Facts, added: Added, lines: list[str]) -> tuple[Change | None, Added]:
    """Put the lines in the place of those that an earlier install added."""
    before, place = facts.snippets[added.path] or b"", placement.line(facts.configuration)
    if added.whole_file:
        after = text = placement.own_file(lines)
    elif place is None or place.file != added.path:
        return None, added
    else:
        after, text = placement.added(before.replace(added.text.encode("latin-1"), b""), place, lines)
    change = None if after == before else Change(added.path, before, after)
    return change, replace(added, text=text.decode("latin-1"))


def _placed(facts: Facts, lines: list[str]) -> tuple[Change, Added]:
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
