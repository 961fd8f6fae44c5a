"""One configuration for files and command line: params.yaml and conf/, composed by Hydra and checked.

In: overrides as the user typed them. Out: an OmegaConf DictConfig whose every value is allowed, or an InputError.
Checks that need to know the data are in `data/` (the split) and in `pipeline/checks.py` (all that a run needs).
"""
