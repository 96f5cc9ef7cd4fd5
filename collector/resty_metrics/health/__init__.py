"""The judge of a running collector: facts in, troubles out, each with its remedy. Pure."""
