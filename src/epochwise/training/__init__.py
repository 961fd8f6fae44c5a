"""Stage 2, train: the network and its training, epoch by epoch. All randomness is a function of (seed, epoch, step).

In: a checked configuration and prepared data. Out: a network, its history, and the variables that training changes.
Every file in this folder and `data/prepared.py` are part of a trajectory's identity (`trajectory/identity.py`): what
does not decide a result belongs elsewhere. Run directories are in `runs/`, resuming is in `trajectory/resume.py`.
"""
