"""The demo's only error."""


class DemoError(Exception):
    """The error that something which the demo needs is missing. Its text says what to do."""
