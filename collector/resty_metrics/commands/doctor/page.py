"""The collector's page and its readiness, as they were fetched: ``page.answers``, ``page.ready``, ``source.*``."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from prometheus_client.parser import text_string_to_metric_families

from resty_metrics.commands.doctor.finding import Finding, as_remedy, fail, not_known, ok, skip, warn
from resty_metrics.health import remedies

_PREFIX = "resty_metrics_"


@dataclass(frozen=True, slots=True)
class Answer:
    """The outcome of an HTTP request.

    ``error`` None: ``text`` is the body of a status 200, or ``wants`` names the credentials that doctor lacks.
    """

    url: str
    text: str
    error: str | None
    wants: str | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """The samples of a page by name, then by labels."""

    samples: Mapping[str, Mapping[frozenset[tuple[str, str]], float]]

    def series(self, name: str) -> Mapping[frozenset[tuple[str, str]], float]:
        return self.samples.get(_PREFIX + name, {})

    def value(self, name: str, **labels: str) -> float | None:
        return self.series(name).get(frozenset(labels.items()))

    def by_nginx(self, name: str) -> dict[str, float]:
        """Return a family with one sample for each nginx, by its name; "" for one without a name."""
        return dict(sorted((dict(labels).get("nginx", ""), value) for labels, value in self.series(name).items()))

    def by(self, name: str, label: str) -> dict[str, float]:
        """Return the positive samples of a family by one of its labels, summed over the others."""
        sums: dict[str, float] = {}
        for labels, value in self.series(name).items():
            key = dict(labels).get(label)
            if key is not None and value > 0:
                sums[key] = sums.get(key, 0) + value
        return sums


def read(text: str) -> Page:
    """Parse a page. Raises ValueError where the text is not one."""
    samples: dict[str, dict[frozenset[tuple[str, str]], float]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            samples.setdefault(sample.name, {})[frozenset(sample.labels.items())] = sample.value
    return Page(samples)


def answers(answer: Answer, page: Page | None, foreign: int | None) -> Finding:
    """Check ``page.answers``: the page comes and can be read. ``foreign``: a collector in another network namespace."""
    check = "page.answers"
    if answer.error is not None and foreign is not None:
        evidence = f"{answer.url}: {answer.error}; process {foreign} runs in another network namespace"
        return not_known(check, evidence, f"nsenter --target {foreign} --net resty-metrics doctor")
    if answer.error is not None:
        return fail(
            check,
            f"{answer.url}: {answer.error}",
            "check that the collector runs, and that --web.listen-address is its address",
        )
    if answer.wants is not None:
        return ok(check, f"{answer.url} answers, but requires {answer.wants}: doctor cannot read it")
    if page is None:
        return fail(
            check,
            f"{answer.url} does not serve the metrics of a collector",
            "check which program listens at --web.listen-address",
        )
    return ok("page.answers", f"{answer.url}: {sum(map(len, page.samples.values()))} samples")


def ready(answer: Answer, page: Page | None) -> list[Finding]:
    """Check ``page.ready``. Its troubles are findings only where the page itself could not be read."""
    if answer.error is not None:
        return [fail("page.ready", f"{answer.url}: {answer.error}", "see the collector's log")]
    if answer.wants is not None:
        return [skip("page.ready", f"{answer.url} requires {answer.wants}")]
    degraded = [line for line in answer.text.splitlines() if line.startswith("degraded: ")]
    if not degraded:
        return [ok("page.ready", f"{answer.url}: ready, nothing degraded")]
    if page is not None:
        words = "1 trouble, which has" if len(degraded) == 1 else f"{len(degraded)} troubles, each of which has"
        return [ok("page.ready", f"{answer.url}: ready, with {words} its own finding")]
    return [warn("page.ready", line, "follow the advice in that line") for line in degraded]


def fetched(name: str, url: str, error: str | None, families: int, foreign: int | None, nginx: str = "") -> Finding:
    """Check ``source.stub_status`` or ``source.vts``, as doctor itself fetched it.

    ``foreign``: as in ``answers``; ``nginx``: the name of the nginx, "" for one without a name.
    """
    if error is not None and foreign is not None:
        evidence = f"{url}: {error} from here; process {foreign} runs in another network namespace"
        return not_known(f"source.{name}", evidence, f"nsenter --target {foreign} --net resty-metrics doctor")
    if error is not None:
        remedy = as_remedy(remedies.of_source(error.partition(":")[0]))
        failed = fail(f"source.{name}", f"{url}: {error}", remedy)
        return replace(failed, nginx=nginx, parts=frozenset({name}))
    return ok(f"source.{name}", f"{url} answers and can be read ({families} families)")
