"""The durations of a label set of requests, whatever labels durations have."""

import pytest
from resty_metrics.commands.top.durations import Durations
from resty_metrics.commands.top.page import labels

ROW = 'server="a",method="GET",status="200"'
# The labels of durations, those of requests, and the rows of durations (by place) that belong to these.
CASES = [
    (['server="a",status_class="2xx"', 'server="a",status_class="4xx"', 'server="b",status_class="2xx"'], ROW, [0]),
    (['server="a",status_class="2xx"'], 'server="a",method="GET",status="101"', []),
    (['server="a",status_class="other"'], 'server="a",method="GET",status="009"', [0]),
    (['server="a",status_class="other"'], 'server="a",method="GET",status="600"', [0]),
    (['server="a",status_class="1xx"'], 'server="a",method="GET",status="101"', []),
    (['server="a",status_class="5xx"'], 'server="a",method="GET",status="599"', [0]),
    (['server="a"', 'server="b"'], ROW, [0]),
    (['status="200"', 'status="404"'], ROW, [0]),
    (['server="a",method="GET",status="200",scheme="http"', 'server="a",method="GET",status="200",scheme="https"'],
     ROW, [0, 1]),
    (['server="a",scheme="x"', 'server="a",scheme="y"'], f'{ROW},scheme="y"', [1]),
    (['server="a",route="/x"', 'server="a",route="/y"'], f'{ROW},route="/y"', [1]),
    (['server="a",status_class="2xx"', 'server="a",status_class="2xx",scope="s"'], ROW, [0]),
    (['server="a",status_class="2xx"', 'server="a",status_class="2xx",scope="s"'], f'{ROW},scope="s"', [1]),
    (['server="a"', 'nginx="edge",server="a"'], f'nginx="edge",{ROW}', [1]),
    (['server="a"', 'nginx="edge",server="a"'], ROW, [0]),
    ([""], ROW, [0]),
    ([], ROW, []),
]  # fmt: skip


@pytest.mark.parametrize(("timed", "row", "places"), CASES)
def test_the_rows_of_durations_that_belong_to_a_label_set(timed: list[str], row: str, places: list[int]) -> None:
    buckets = {text: ((float(place),), [1.0, 0.0]) for place, text in enumerate(timed)}
    durations = Durations(buckets)
    for _ in range(2):
        assert [*durations.of(labels(row))] == [buckets[timed[place]] for place in places]
