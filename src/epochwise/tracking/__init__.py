"""MLflow: one MLflow run for each run directory, one summary run for each sweep, and the registry's champion.

In: run directories, which hold all results, and what a sweep is to look like. Out: MLflow runs, links to their pages,
and run directories that are downloaded again. Nothing here decides a result: a fault of MLflow costs a warning, and
`epochwise publish` (`commands/publish.py`) logs later what is missing. What a run directory holds is in `runs/`.

MLflow is imported nowhere else, and only inside functions: the import costs about 4 CPU-seconds, which commands that
do not need MLflow must not pay. The addresses of a tracking server, for which no import is needed, are in `server.py`.
"""
