"""report.html: one page that shows a sweep or a run, opens anywhere, and asks for nothing from anywhere.

In: finished runs with their settings, as `content.Report` (the leaderboard's by `sweeps/leaderboard_files.py`, a single
run's by `content.report_of_run`). Out: the text of a page. The same runs give the same bytes. Neither TensorFlow nor
Matplotlib is imported here.
"""
