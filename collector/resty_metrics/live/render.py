"""The view as HTML, by a template in which everything is escaped.

Rules:
- What the page loads is its own, by name from FILES; the policy that goes with it allows nothing else, nothing inline.
- Names of servers and labels are a client's words as much as an operator's: only the template writes HTML.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from jinja2 import DictLoader, Environment, StrictUndefined

from resty_metrics.live import chart
from resty_metrics.live.view import View
from resty_metrics.live.words import duration

TEMPLATE = "live.html"
FILES: Mapping[str, str] = {
    "live.css": "text/css",
    "live.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}
HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


@dataclass(frozen=True, slots=True)
class Renderer:
    """Makes HTML of views, from the text of the template."""

    environment: Environment

    def html(self, page: View) -> str:
        template = self.environment.get_template(TEMPLATE)
        uptime = duration(page.facts.uptime)
        return template.render(page=page, uptime=uptime, width=chart.WIDTH, height=chart.HEIGHT)


def renderer(template: str) -> Renderer:
    """A renderer with this template. Raises jinja2's TemplateSyntaxError."""
    loader = DictLoader({TEMPLATE: template})
    return Renderer(Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True))
