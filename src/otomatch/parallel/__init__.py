"""Several processes that work on one batch: collectives, sharded rows and global batch norm."""
