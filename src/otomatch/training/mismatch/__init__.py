"""Estimate of which training pairs are mismatched: p-values, weights, and their table."""
