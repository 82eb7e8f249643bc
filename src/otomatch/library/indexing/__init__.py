"""From folders of sound files to rows of the library."""
