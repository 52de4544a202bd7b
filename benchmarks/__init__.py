"""One script a question. Each prints ratios to a peer, or to a limit, measured in the same run."""
