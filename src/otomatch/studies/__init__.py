"""Studies: declared grids of training runs that answer a question.

``otomatch study NAME --data DATA`` runs one. From declaration to output:

- `catalogue` declares the studies: question, grid, tables and pictures.
- `data` opens or composes the data sets, `planning` makes cells, and `cells` stores each run.
- `runner` works through the cells; `worker` trains and measures one (`measurement`).
- `results` holds what came out; `statistics`, `bootstrap` and `power_laws` evaluate it.
- `output` writes `tables`, `summary`, `page` and the pictures of `plots`.

`loss_cost` and `resources` measure time and memory.
"""
