"""The interval of top."""

import pytest
from resty_metrics.commands.top import settings


@pytest.mark.parametrize(("text", "seconds"), [("2s", 2.0), ("500ms", 0.5), ("100ms", None), ("soon", None)])
def test_interval(text: str, seconds: float | None) -> None:
    if seconds is None:
        with pytest.raises(ValueError, match=text):
            settings.read_interval(text)
    else:
        assert settings.read_interval(text) == seconds
