"""What outlives the process: every accepted batch is written before it is acknowledged and shown."""
