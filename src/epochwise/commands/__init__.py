"""What a user types: run, and with finished runs predict, promote, publish, reproduce. One file a command.

In: Hydra's command line, run ids, run directories or pictures. Out: runs, a printed result, a picture, a champion, a
synced MLflow. What one run does is in `pipeline/run.py`, what a grid does and `compare` in `sweeps/`.
"""
