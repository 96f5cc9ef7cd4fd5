"""The journal: every accepted batch is written to disk before it is acknowledged and shown."""
