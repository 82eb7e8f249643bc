"""Studies: declared grids of training runs that answer a question, and what they say.

``otomatch study NAME --data DATA`` runs one. `grids` declares them, `data` opens or composes what
they train and are tested on, `planning` makes cells of both, `cells` keeps each training run where
its configuration and data say, `cell` trains and `measure` measures one, `runner` works through the
grid. `statistics`, `tables` (by the `views` of each study), `summary`, `figures` (with `drawers`
and `charts`) and `page` say what came of it; `output` writes it.
"""
