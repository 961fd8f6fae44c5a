"""The three stages as DVC and `epochwise run` call them, and what is checked before them.

In: a checked configuration. Out: prepared data, run directories, and their runs in MLflow. This room connects the
stages in `data/`, `trajectory/` and `evaluation/` with run directories (`runs/`) and MLflow (`tracking/`); many runs at
once are in `sweeps/`.
"""
