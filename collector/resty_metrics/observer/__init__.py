"""The observer of a running collector: it looks once a second, keeps what happened lately, and asks the judge."""
