"""Which training pairs are mismatched: p-values, weights, their table."""
