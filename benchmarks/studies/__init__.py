"""One folder a study, `common` for what they share; the scripts beside this package run them.

Imports go one way: a script imports its study, a study `studies.common`, and nothing here imports another study.
"""
