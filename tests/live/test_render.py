"""The page as HTML."""

import re
from html.parser import HTMLParser

import pytest
from resty_metrics.health import troubles
from resty_metrics.health.facts import SourceState
from resty_metrics.health.troubles import Trouble
from resty_metrics.live.assets import FILES, HEADERS
from resty_metrics.live.facts import Facts, Row, Top, Worker
from resty_metrics.live.history import History
from resty_metrics.live.render import renderer
from resty_metrics.live.totals import Totals
from resty_metrics.live.view import view
from support.live import WELL, facts, nginx
from support.nginx import ROOT

RENDERER = renderer((ROOT / "collector" / "resty_metrics" / "live" / "files" / "live.html").read_text())
EVIL = "<script>alert(1)</script>\"'&"
VOID = {"meta", "link", "path"}


class Tree(HTMLParser):
    """Checks that every element is closed in its turn; ``texts`` and ``attributes`` as a browser would have them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def history(*names: str) -> History:
    found = History()
    for sample in range(4):
        totals = {name: Totals(sample * 10, sample, {(0.1,): [sample * 10, 0]}) for name in names}
        found.observe(totals, 0, 980.0 + 5 * sample)
    return found


def html(given: Facts, past: History | None = None) -> str:
    return RENDERER.html(view(given, past or History()))


CRITICAL = sum(kind.severity == "critical" for kind in troubles.KINDS)


def hostile() -> Facts:
    return facts(
        version=EVIL,
        telemetry_path=f"/{EVIL}",
        doctor=EVIL,
        watch=EVIL,
        socket=EVIL,
        troubles=[Trouble(kind, EVIL, EVIL, EVIL) for kind in troubles.KINDS],
        sources=[SourceState(EVIL, EVIL, EVIL, EVIL, EVIL, 1.0)],
        nginx=[nginx(name=EVIL, coverage=0.1, workers_seen=1)],
        workers=[Worker(EVIL, 0, 1, 1.0, 1.0, 0.0, 1.0, False)],
        top=Top([Row([(EVIL, EVIL)], 1.0)], 1.0, 1, 1),
    )


def test_whatever_a_name_is_it_stays_text() -> None:
    text = html(hostile(), history(EVIL, f"quiet {EVIL}"))
    tree = Tree(text)
    assert not tree.open
    assert tree.tags.count("script") == 1
    assert "alert(1)" not in re.sub(r"&lt;script&gt;alert\(1\)&lt;/script&gt;", "", text)
    assert any(EVIL in one for one in tree.texts)


def test_nothing_is_inline_and_nothing_is_from_elsewhere() -> None:
    tree = Tree(html(hostile(), history("a")))
    assert not [name for name, _ in tree.attributes if name == "style" or name.startswith("on")]
    assert "style" not in tree.tags
    loaded = [value for name, value in tree.attributes if name == "src"]
    loaded += [value for name, value in tree.attributes if name == "href" and value and "/-/live/" in value]
    assert sorted(filter(None, loaded)) == sorted(f"/-/live/{name}" for name in FILES)
    assert "unsafe" not in HEADERS["Content-Security-Policy"]
    for name in FILES:
        text = (ROOT / "collector" / "resty_metrics" / "live" / "files" / name).read_text()
        assert not re.findall(r"https?://(?!www\.w3\.org/2000/svg)|@import|url\(", text)


@pytest.mark.parametrize(
    ("given", "headline"),
    [
        (facts(), "Everything works"),
        (facts(troubles=[Trouble(troubles.CONFIG_REFUSED, "web", "correct it")]), "1 warning"),
        (facts(troubles=[Trouble(troubles.SOCKET_DOWN, "gone", "put it back")]), "1 critical problem"),
        (hostile(), f"{CRITICAL} critical problems and {len(troubles.KINDS) - CRITICAL} warnings"),
    ],
)
def test_the_headline_says_how_many_problems_there_are(given: Facts, headline: str) -> None:
    state = html(given).partition('id="state"')[2].partition("</p>")[0]
    assert state.endswith(f" {headline}")


def test_a_problem_leads_to_its_section_of_the_runbook() -> None:
    links = [value for name, value in Tree(html(hostile())).attributes if name == "href" and value]
    assert "/-/runbook#restymetricssocketdown" in links or "/-/runbook#restymetricssocketcontended" in links


def test_before_the_first_interval_the_page_says_so() -> None:
    text = html(facts(uptime=2.0))
    assert "The first figures appear after 5 seconds" in text
    assert "<svg" not in text


def test_servers_have_figures_and_charts_and_quiet_ones_a_line() -> None:
    past = history("shop")
    past.observe({"shop": Totals(30, 3, {(0.1,): [30, 0]}), "idle": Totals(0)}, 0, 1000.0)
    text = html(facts(), past)
    assert text.count("<svg") == 6  # of all, and of the one
    assert "No request in the last 20 s: idle." in text
    assert "<b>1.50</b>/s" in text
    assert "shop, requests per second in the last 20 s: between 0 and 2" in text


@pytest.mark.parametrize(
    ("samples", "recent", "span"), [(4, "20 s", "20 s"), (60, "1 min", "5 min"), (300, "1 min", "15 min")]
)
def test_spans_are_those_that_the_page_has(samples: int, recent: str, span: str) -> None:
    past = History()
    for sample in range(samples + 1):
        totals = {"shop": Totals(sample * 10, 0, {(0.1,): [sample * 10, 0]}), "idle": Totals(0)}
        past.observe(totals, 0, 1000.0 - 5 * (samples - sample))
    text = html(facts(), past)
    assert f"Figures: the last {recent}. Charts: the last {span};" in text
    assert f"No request in the last {span}: idle." in text
    assert f"requests per second in the last {span}: 2" in text


def test_numbers_of_rows_say_what_they_count() -> None:
    text = html(facts(rows=16, top=Top([Row([("server", "a")], 1.0)], 28.0, 9, 9)))
    assert "over the last 28 s, of 9 rows of requests." in text
    assert "16 rows of all metrics." in text
    assert "No request in the last 28 s." in html(facts(top=Top([], 28.0, 9, 9)))
    assert "The first rows appear after 5 seconds." in html(facts(top=Top([], None, 9, 9)))


@pytest.mark.parametrize(("generation", "words"), [(1, "no reload seen"), (2, "at least 1 reload"), (3, "2 reloads")])
def test_a_reload_that_no_worker_saw_may_be_missing(generation: int, words: str) -> None:
    assert words in html(facts(nginx=[nginx(generation=generation, configured_ago=60.0)]))


@pytest.mark.parametrize(("errors", "bound", "marked"), [(0, 0, 0), (4, 0, 0), (6, 0, 1), (0, 1, 1), (6, 1, 2)])
def test_a_figure_above_the_threshold_of_its_alert_is_marked(errors: int, bound: int, marked: int) -> None:
    """In words and not by its colour alone; here in all servers and in the one."""
    past = History()
    for sample in range(4):
        counts = [0, 0, 0]
        counts[bound * 2] = sample * 100
        past.observe({"shop": Totals(sample * 100, sample * errors, {(0.1, 2.0): counts})}, 0, 980.0 + 5 * sample)
    servers = html(facts(), past).partition('<ul class="servers">')[2].partition("</ul>")[0]
    assert servers.count('class="symbol') == 2 * marked


def test_a_p99_of_few_requests_is_not_known() -> None:
    assert "<b>≤ 100 ms</b>, <b>-</b>" in html(facts(), history("shop"))


def test_every_chart_says_in_words_what_it_shows() -> None:
    text = html(facts(), history("shop"))
    assert len(re.findall(r'<svg [^>]*role="img" aria-label="[^"]{20,}"', text)) == text.count("<svg")


def test_servers_that_are_not_looked_at_are_counted() -> None:
    assert "176 more servers are included in the sum" in html(WELL, history(*(f"s{n}" for n in range(200))))
