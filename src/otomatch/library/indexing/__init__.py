"""Indexing: from folders of sound files to rows of the library's table."""
