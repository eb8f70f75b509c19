"""The chaos suite: kills and pauses every part of a platform while a map runs, and checks every input afterwards.

`python -m chaos --help` (with tests/ on the path; `make chaos`) runs it; test_short.py is its short form.

Pure: plan.py (what is done to whom, and when, from a seed), recipes.py (the inputs), evidence.py (what was recorded),
checks.py (what must hold of it), table.py (the outcome of many rounds). All else starts processes and ends them.
"""
