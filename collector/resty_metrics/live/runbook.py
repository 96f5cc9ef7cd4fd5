"""The runbook as a page of the collector: the link of a warning opens its section, without access to the Internet.

The text is docs/runbook.md: headings, paragraphs, and within a line code, emphasis and links. A link to another
document becomes its words, since the collector does not serve that document.
"""

import html
import re
from collections.abc import Iterator, Sequence

PATH = "/-/runbook"

_INLINE = (
    (re.compile(r"`([^`]+)`"), r"<code>\1</code>"),
    (re.compile(r"\[([^\]]+)\]\([^)]+\)"), r"\1"),
    (re.compile(r"\*([^*]+)\*"), r"<em>\1</em>"),
)
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>Runbook of resty-metrics</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="/-/live/icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="/-/live/live.css">
</head>
<body class="runbook">
<header><h1>Runbook</h1><nav aria-label="Other pages"><a href="/">Live page</a></nav></header>
<main>
{body}
</main>
</body>
</html>
"""


def page(text: str) -> str:
    """Return the runbook as HTML, with a list of its sections at the top."""
    title, *sections = re.split(r"^## ", text, flags=re.MULTILINE)
    names = [section.partition("\n")[0].strip() for section in sections]
    body = [*_paragraphs(title.partition("\n")[2]), *_contents(names)]
    for name, section in zip(names, sections, strict=True):
        body += [f'<h2 id="{html.escape(name.lower())}">{html.escape(name)}</h2>']
        body += _paragraphs(section.partition("\n")[2])
    return _PAGE.format(body="\n".join(body))


def _contents(names: Sequence[str]) -> Iterator[str]:
    links = (f'<li><a href="#{html.escape(name.lower())}">{html.escape(name)}</a></li>' for name in names)
    yield f"<ul>{''.join(links)}</ul>"


def _paragraphs(text: str) -> Iterator[str]:
    for paragraph in re.split(r"\n\s*\n", text.strip()):
        words = html.escape(" ".join(paragraph.split()), quote=False)
        for pattern, replacement in _INLINE:
            words = pattern.sub(replacement, words)
        yield f"<p>{words}</p>"
