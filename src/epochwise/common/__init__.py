"""What every room uses: errors, files, locks, paths, git and worker processes.

Nothing in here knows what is trained or tracked. It imports no other room.
"""
