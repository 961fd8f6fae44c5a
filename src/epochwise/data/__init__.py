"""Stage 1, prepare: get labelled images from a source, split off a validation part, write them as arrays.

In: the section `prepare` of a checked configuration and the cache folder. Out: `data.npz` and `meta.json`, the same
bytes every time. Start with `prepare.py` (the stage) and `sources.py` (where images come from). A user's files go
through a reader (`own_files.py` chooses it), which gives arrays as they are; `pixels.py` and `labels.py` make them
bytes and numbers, or refuse them. Pictures are decoded by `decode.py`, also for predict. What the later stages read is
in `prepared.py`, the only file of this folder that trainings depend on. Which folder holds the data of a run is in
`pipeline/datasets.py`.
"""
