"""Several processes that share one batch."""
