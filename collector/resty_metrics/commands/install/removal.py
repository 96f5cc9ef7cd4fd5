"""The changes after which nothing of ours is left: what the manifest lists, and no more. Pure.

Rules:
- As long as anything else names our files (a hook with our line, an include by hand), nothing is removed, and the
  reason names the places.
- A file that was changed since it was written is kept beside its place as ``.saved``.
- A setting of ours outside of what install added, such as a ``geo`` that somebody moved, is named.
- A line or file that somebody removed meanwhile does not keep the rest. A line that another tool wrote in another form
  (other blanks, quotes, line ends) is removed too.
"""

from collections.abc import Iterator

from resty_metrics.commands.install import leftovers, manifest, rewritten
from resty_metrics.commands.install.facts import Change, Facts, Plan
from resty_metrics.commands.install.manifest import Added, Manifest
from resty_metrics.commands.install.plan import SAVED, unread
from resty_metrics.commands.install.refused import RefusedError
from resty_metrics.nginx_config.directive import ConfigurationError
from resty_metrics.nginx_config.hooks import directives

SHOWN = 3  # files of others
_BY_HAND = "Remove them by hand, then run this again"


def make(facts: Facts, configured: bytes | None) -> Plan:
    """Make the plan. Raises RefusedError.

    ``configured``: the present content of the file that the manifest names for this nginx.
    """
    written = facts.manifest
    if written is None:
        places = list(_references(facts, None))
        if places:
            raise RefusedError(
                f"install did not write {facts.share}, so it cannot remove it. Remove by hand: {', '.join(places)}"
            )
        return Plan((), (), ())
    added = entry(facts)
    rest, notes = _further(facts, written)
    if added is None and rest.configurations:
        return Plan((), (), (_in_use(facts, rest),))
    places = list(_references(facts, added))
    if places:
        raise RefusedError(
            f"nginx still uses files in {facts.share}. Remove the line that names them from each of these places, then "
            f"run this again: {', '.join(places)}"
        )
    configuration: list[Change] = []
    notes += unread(facts)
    if added is not None:
        configuration, more = _configuration(facts, added, configured)
        notes += [*more, *leftovers.notes(facts.configuration, facts.share, configuration)]
    if rest.configurations:
        kept = Change(f"{facts.share}/{manifest.NAME}", facts.present[manifest.NAME], manifest.write(rest), diff=False)
        return Plan((kept,), tuple(configuration), (*notes, _in_use(facts, rest)))
    files, more = _files(facts, written)
    return Plan(tuple(files), tuple(configuration), (*notes, *more))


def entry(facts: Facts) -> Added | None:
    """Return the manifest's entry for this nginx, also where its main file has another name by now."""
    written = facts.manifest
    if written is None:
        return None
    main_file = facts.configuration.main_file
    read = {main_file, *(added.file for added in directives(facts.configuration.directives))}
    read |= {added.file for added in facts.configuration.includes}
    moved = (added for added in written.configurations if added.main_file in facts.vanished and added.path in read)
    return written.of(main_file) or next(moved, None)


def _further(facts: Facts, written: Manifest) -> tuple[Manifest, list[str]]:
    """Return the manifest without the entry for this nginx, and without those whose files are all gone; and notes."""
    own = entry(facts)
    rest = written.without(facts.configuration.main_file if own is None else own.main_file)
    notes = []
    for added in rest.configurations:
        if added.main_file in facts.vanished and facts.snippets.get(added.path) is None:
            rest = rest.without(added.main_file)
            notes.append(f"{added.main_file}, for which these files were installed too, is gone")
    return rest, notes


def _in_use(facts: Facts, rest: Manifest) -> str:
    mains = ", ".join(added.main_file for added in rest.configurations)
    return f"the files in {facts.share} are kept, because {mains} uses them"


def _references(facts: Facts, added: Added | None) -> Iterator[str]:
    """Yield the places that name our files, outside of these files.

    They are in nginx's configuration and in the files of Lua hooks.
    """
    configuration, share = facts.configuration, facts.share

    def of_ours(file: str, text: str) -> bool:
        if file.startswith(f"{share}/"):
            return True
        return added is not None and file == added.path and (added.whole_file or rewritten.contains(added.shown, text))

    for include in configuration.includes:
        if include.pattern.startswith(f"{share}/") and not of_ours(include.file, include.pattern):
            yield include.place
    for directive in directives(configuration.directives):
        words = [word for word in directive.args if f"{share}/" in word]
        if not all(of_ours(directive.file, word.strip()) for word in words):
            yield f"{directive.place} ({directive.name})"
    for path, text in sorted(facts.texts.items()):
        if not path.startswith(f"{share}/") and f"{share}/" in (text or ""):
            yield f"{path}:{_line_of(text or '', f'{share}/')}"


def _line_of(text: str, word: str) -> int:
    return text.count("\n", 0, text.find(word)) + 1


def _configuration(facts: Facts, added: Added, now: bytes | None) -> tuple[list[Change], list[str]]:
    text = added.text.encode("latin-1")
    if now is None:
        return [], [f"{added.path} was removed already"]
    if added.whole_file:
        change = Change(added.path, now, None)
        if now == text:
            return [change], []
        kept = added.path + SAVED
        return [Change(kept, facts.snippets.get(kept), now, diff=False), change], [_changed(added.path, kept)]
    if now.count(text) == 1:
        return [Change(added.path, now, now.replace(text, b""))], []
    return _rewritten(facts, added, now)


def _rewritten(facts: Facts, added: Added, now: bytes) -> tuple[list[Change], list[str]]:
    """Remove what is left of an addition that was written in another form. Raises RefusedError."""
    after = rewritten.without(now.decode("latin-1"), added.text).encode("latin-1")
    text = after.decode("utf-8", "surrogateescape")
    try:
        left = rewritten.places_left(facts.configuration, added.path, facts.share, text)
    except ConfigurationError as error:
        raise RefusedError(f"cannot remove the lines that were added to {added.path} ({error}). {_BY_HAND}") from None
    if left:
        raise RefusedError(f"another tool changed these lines of install: {', '.join(left)}. {_BY_HAND}")
    if after == now:
        return [], [f"{added.path} no longer has the lines that were added: they were removed already"]
    return [Change(added.path, now, after)], []


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
    unknown = sorted(facts.present.keys() - written.files.keys() - {manifest.NAME})
    if unknown and facts.ours is not None:
        more = f" and {len(unknown) - SHOWN} more" if len(unknown) > SHOWN else ""
        notes.append(f"{facts.share} is kept: install did not write {', '.join(unknown[:SHOWN])}{more}")
    return changes, notes


def _changed(path: str, kept: str) -> str:
    return f"{path} was changed after the installation. The changed file is kept as {kept}"
