"""The fault matrix: real processes, real servers, killed and paused at named places; afterwards nothing may be wrong.

`python -m tests.faults.matrix` is the long form, `tests/faults/test_matrix.py` the short one.
"""
