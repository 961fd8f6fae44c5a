"""What a user does with finished runs: predict, promote, publish, reproduce. One file a command.

In: run ids, run directories or pictures, as typed. Out: a printed result, a picture, a champion, a synced MLflow.
`epochwise run` and `compare` are in `sweeps/`, the stages in `pipeline/`.
"""
