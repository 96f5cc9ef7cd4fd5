"""What a request, a flush, a merge and a page cost, each beside a reference from the same run: ``scripts/bench``."""
