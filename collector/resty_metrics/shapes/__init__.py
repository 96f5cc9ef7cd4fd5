"""The parts of a row: its labels, its shape, its sums. Wire and table share them."""
