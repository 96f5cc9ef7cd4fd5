"""The page for people, at ``/``: what happened in the last minutes, and what to do about it. Pure."""
