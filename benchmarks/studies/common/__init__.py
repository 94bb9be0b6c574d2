"""What every study shares and none is about: timing, machine, results, statistics, command line, tables, figures.

Knows nothing of policies or maximizers; `acting`, which several studies share, does.
"""
