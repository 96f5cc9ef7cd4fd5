"""The one error of the demo."""


class DemoError(Exception):
    """Something that the demo needs is not there; the text says what to do."""
