"""The changes after which nothing of ours is left: what the manifest lists, and no more. Pure.

Rules:
- As long as anything else names our files (a hook with our line, an include by hand), nothing is removed, and the
  reason names the places.
- A file that was changed since it was written is kept beside its place as ``.saved``.
"""

from collections.abc import Iterator

from resty_metrics.commands.install import manifest
from resty_metrics.commands.install.facts import Change, Facts, Plan
from resty_metrics.commands.install.manifest import Added, Manifest
from resty_metrics.commands.install.plan import SAVED, unread
from resty_metrics.commands.install.refused import RefusedError
from resty_metrics.nginx_config.hooks import directives


def make(facts: Facts, configured: bytes | None) -> Plan:
    """Make the plan. Raises RefusedError.

    ``configured``: the present content of the file that the manifest names for this nginx.
    """
    written = facts.manifest
    if written is None:
        places = list(_references(facts, None))
        if places:
            raise RefusedError(f"what is in {facts.share} is not of install: remove by hand {', '.join(places)}")
        return Plan((), (), ())
    added = written.of(facts.configuration.main_file)
    if added is None and written.configurations:
        return Plan((), (), (_in_use(facts, written),))
    places = list(_references(facts, added))
    if places:
        raise RefusedError(f"these lines need our files; remove them first, then run this again: {', '.join(places)}")
    configuration: list[Change] = []
    notes = unread(facts)
    if added is not None:
        configuration, more = _configuration(added, configured, facts.snippets.get(added.path + SAVED))
        notes += more
    rest = written.without(facts.configuration.main_file)
    if rest.configurations:
        kept = Change(f"{facts.share}/{manifest.NAME}", facts.present[manifest.NAME], manifest.write(rest), diff=False)
        return Plan((kept,), tuple(configuration), (*notes, _in_use(facts, rest)))
    files, more = _files(facts, written)
    return Plan(tuple(files), tuple(configuration), (*notes, *more))


def _in_use(facts: Facts, rest: Manifest) -> str:
    mains = ", ".join(one.main_file for one in rest.configurations)
    return f"the files in {facts.share} stay: {mains} uses them"


def _references(facts: Facts, added: Added | None) -> Iterator[str]:
    """Yield the places that name our files, outside of these files.

    They are in nginx's configuration and in the files of Lua hooks.
    """
    configuration, share = facts.configuration, facts.share

    def of_ours(file: str, text: str) -> bool:
        if file.startswith(f"{share}/"):
            return True
        return added is not None and file == added.path and (added.whole_file or text in added.text)

    for include in configuration.includes:
        if include.pattern.startswith(f"{share}/") and not of_ours(include.file, include.pattern):
            yield include.place
    for one in directives(configuration.directives):
        words = [word for word in one.args if f"{share}/" in word]
        if not all(of_ours(one.file, word.strip()) for word in words):
            yield f"{one.place} ({one.name})"
    for path, text in sorted(facts.texts.items()):
        if not path.startswith(f"{share}/") and f"{share}/" in (text or ""):
            yield f"{path}:{_line_of(text or '', f'{share}/')}"


def _line_of(text: str, word: str) -> int:
    return text.count("\n", 0, text.find(word)) + 1


def _configuration(added: Added, now: bytes | None, saved: bytes | None) -> tuple[list[Change], list[str]]:
    text = added.text.encode("latin-1")
    if now is None:
        return [], [f"{added.path} is gone already"]
    if added.whole_file:
        change = Change(added.path, now, None)
        if now == text:
            return [change], []
        kept = added.path + SAVED
        return [Change(kept, saved, now, diff=False), change], [_changed(added.path, kept)]
    if now.count(text) != 1:
        raise RefusedError(f"{added.path} no longer has the line as it was added; remove by hand: {added.text.strip()}")
    return [Change(added.path, now, now.replace(text, b""))], []


def _files(facts: Facts, written: Manifest) -> tuple[list[Change], list[str]]:
    changes, notes = [], []
    for name, known in sorted(written.files.items()):
        path, before = f"{facts.share}/{name}", facts.present.get(name)
        if before is None:
            continue
        if manifest.digest(before) != known:
            changes.append(Change(path + SAVED, facts.present.get(name + SAVED), before, diff=False))
            notes.append(_changed(path, path + SAVED))
        changes.append(Change(path, before, None, diff=False))
    changes.append(Change(f"{facts.share}/{manifest.NAME}", facts.present[manifest.NAME], None, diff=False))
    return changes, notes


def _changed(path: str, kept: str) -> str:
    return f"{path} was changed since it was installed: the changed one is kept as {kept}"
