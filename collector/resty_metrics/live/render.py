"""The view as HTML, by a template in which everything is escaped.

Rule: clients choose some names of servers and labels, so only the template writes HTML.
"""

from dataclasses import dataclass

from jinja2 import DictLoader, Environment, StrictUndefined

from resty_metrics.live import chart
from resty_metrics.live.assets import TEMPLATE
from resty_metrics.live.view import View
from resty_metrics.live.words import duration


@dataclass(frozen=True, slots=True)
class Renderer:
    """Makes HTML of views, from the text of the template."""

    environment: Environment

    def html(self, page: View) -> str:
        template = self.environment.get_template(TEMPLATE)
        uptime = duration(page.facts.uptime)
        return template.render(page=page, uptime=uptime, width=chart.WIDTH, height=chart.HEIGHT)


def renderer(template: str) -> Renderer:
    """Return a renderer with this template. Raises jinja2's TemplateSyntaxError."""
    loader = DictLoader({TEMPLATE: template})
    return Renderer(Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True))
