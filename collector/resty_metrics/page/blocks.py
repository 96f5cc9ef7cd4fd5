"""The rows of a family as text, in blocks: each is rendered in one step, and kept until a row of it changes.

``capture_family`` captures a family at one moment, as lists of rows and sums. A row that changes gets new sums, and a
block that changes is a new one. So the capture stays as it was, however the family changes
(docs/decisions/0018-a-page-in-steps.md).

Rules:
- A block without any change is used as it is. If some rows changed, their text is put into a copy.
- A new block is kept only if it replaces the captured one: several pages may be under way, and the later one may finish
  first. ``Row.kept`` is set only where the row still has the sums that were rendered.
- A block with rows that this page shows at 0 is for this page alone.
"""

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter

from resty_metrics.page.templates import Lines, template
from resty_metrics.shapes.shape import Shape
from resty_metrics.shapes.sums import Sums, reader
from resty_metrics.table.families import Family
from resty_metrics.table.rows import Block, Row, places

BLOCK_ROWS = 100  # at most; a millisecond or two, if all have changed
_BLOCK_BYTES = 4 << 20  # of text, unless one row has more


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A family at one moment. ``sums`` and ``kept`` are those of ``rows``, one by one.

    A block has ``length`` rows. Rows from the place ``known`` on are shown at 0. ``cache`` is the family's own list of
    blocks. ``blocks`` holds the captured blocks, each until it is rendered, since a page would need all text twice
    otherwise. ``signed``: the family is a histogram, and sums under its name may be below 0.
    """

    shape: Shape
    help: str
    rows: Sequence[Row]
    sums: Sequence[Sums]
    kept: Sequence[bool]
    known: int
    length: int
    cache: list[Block]
    blocks: list[Block | None]
    signed: bool = False


def capture_family(family: Family, shown_before: int | None, signed: bool = False) -> Snapshot:
    """Capture the family as it is now.

    Rows created from ``shown_before`` on will be shown at 0; None: all as they are.
    """
    rows = family.rows[:]
    # Rows with many labels and buckets may have megabytes each.
    length = max(1, min(BLOCK_ROWS, _BLOCK_BYTES // family.share.size.largest))
    lacking = -(-len(rows) // length) - len(family.blocks)
    known = len(rows)
    if shown_before is not None:
        known = bisect_left(rows, shown_before, key=attrgetter("created"))
    return Snapshot(
        family.shape,
        family.help,
        rows,
        [row.sums for row in rows],
        [row.kept for row in rows],
        known,
        length,
        family.blocks,
        [*family.blocks, *[None] * lacking],
        signed,
    )


def render_blocks(snapshot: Snapshot) -> Iterator[Lines]:
    """Yield the lines of each block: one text for each metric that the family feeds."""
    length = snapshot.length
    for number, first in enumerate(range(0, len(snapshot.rows), length)):
        block = _block(snapshot, number, range(first, min(first + length, len(snapshot.rows))))
        snapshot.blocks[number] = None
        yield block.lines


def _block(snapshot: Snapshot, number: int, run: range) -> Block:
    old = snapshot.blocks[number]
    texts = _changed(snapshot, run, 0 if old is None else old.rows)
    if old is not None and not texts:
        return old
    block = _join(texts) if old is None or len(texts) == len(run) else _patch(old, texts)
    if run.stop <= snapshot.known:
        _keep(snapshot, number, block, [run.start + place for place in texts])
    return block


def _changed(snapshot: Snapshot, run: range, length: int) -> dict[int, Lines]:
    """Render the rows whose present text a block of ``length`` rows lacks, by their place in it."""
    make, numbers = template(snapshot.shape).render, reader(snapshot.shape.width)
    rows, kept, sums, known = snapshot.rows, snapshot.kept, snapshot.sums, snapshot.known
    return {
        place - run.start: make(rows[place].labels, numbers(sums[place] if place < known else 0))
        for place in run
        if not kept[place] or place - run.start >= length or place >= known
    }


def _join(texts: Mapping[int, Lines]) -> Block:
    columns = list(zip(*texts.values(), strict=True))
    return Block(tuple(map(b"".join, columns)), tuple([places(list(map(len, column))) for column in columns]))


def _patch(old: Block, texts: Mapping[int, Lines]) -> Block:
    """Return a block with these texts in the places of its own, or behind them."""
    columns = [
        _patch_metric(lines, ends, [(place, text[metric]) for place, text in texts.items()])
        for metric, (lines, ends) in enumerate(zip(old.lines, old.ends, strict=True))
    ]
    return Block(tuple([lines for lines, _ in columns]), tuple([ends for _, ends in columns]))


def _patch_metric(lines: bytes, ends: Sequence[int], texts: Sequence[tuple[int, bytes]]) -> tuple[bytes, Sequence[int]]:
    view, pieces, copied = memoryview(lines), list[bytes | memoryview](), 0
    lengths: dict[int, int] = {}
    for place, text in texts:
        begin = ends[min(place, len(ends)) - 1] if place else 0
        end = ends[place] if place < len(ends) else begin
        pieces += [view[copied:begin], text]
        copied = end
        if len(text) != end - begin or place >= len(ends):
            lengths[place] = len(text)
    pieces.append(view[copied:])
    return b"".join(pieces), _moved(ends, lengths) if lengths else ends


def _moved(ends: Sequence[int], changed: Mapping[int, int]) -> Sequence[int]:
    """Return the ends of all rows when some have other lengths, or are new."""
    lengths = [end - begin for begin, end in zip((0, *ends), ends, strict=False)]
    for place, length in changed.items():
        lengths[place : place + 1] = [length]
    return places(lengths)


def _keep(snapshot: Snapshot, number: int, block: Block, rendered: Sequence[int]) -> None:
    cache, old = snapshot.cache, snapshot.blocks[number]
    if old is not None and cache[number] is old:
        cache[number] = block
    elif number == len(cache):
        cache.append(block)
    else:
        return  # another page was faster
    for place in rendered:
        row = snapshot.rows[place]
        if row.sums is snapshot.sums[place]:
            row.kept = True
