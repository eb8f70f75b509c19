# Each target works alone, from a fresh clone: it sets up what it needs in .venv first.

BIN := .venv/bin
SOURCES := client services tests scripts benchmarks examples
ARGS ?=
# Tests mostly wait for processes and servers, so more of them than cores run at once.
JOBS ?= 4

.PHONY: help demo test explore chaos check bench bench-peers bench-scheduler bench-scaling bench-streams trace profile format lock diagrams clean env env-dev
.DEFAULT_GOAL := help

help:
	@echo 'make demo     run the main example: a census of the standard library, parsed in containers'
	@echo 'make test     run all tests            (ARGS="tests/unit -k codec" chooses some; JOBS=1: one at a time)'
	@echo 'make explore  try new examples for all properties and state machines: some minutes'
	@echo 'make chaos    kill and pause every part, again and again: hours  (ARGS="kill-worker --rounds 2" chooses)'
	@echo 'make check    format, lint, types, architecture rules, diagrams'
	@echo 'make bench    measure, print a table, store build/bench.json    (ARGS="warm cold" chooses some)'
	@echo 'make bench-scaling   what a call and a map cost as functions, containers, queues and clients grow in number'
	@echo 'make bench-streams   what the streams of nats-server can take, and what more streams and servers give: 10 minutes'
	@echo 'make bench-peers  the same work on Ray, Dask, Celery, Taskiq and afield: an hour  (ARGS="--quick --peers ray-tasks")'
	@echo 'make bench-scheduler  what a decision of the scheduler costs with up to 1,000 workers'
	@echo 'make trace    where the time of one warm call goes, hop by hop'
	@echo 'make profile  the processor time of each process, and its functions   (ARGS="warm", "map", "flights --seconds 10")'
	@echo 'make format   format the code and mend what the linter can'
	@echo 'make lock     write the lock files anew from pyproject.toml     (ARGS=--upgrade takes newer versions)'
	@echo 'make diagrams draw the state diagrams of ARCHITECTURE.md anew'
	@echo 'make clean    remove everything that the other targets made'

env:
	@scripts/setup runtime

env-dev:
	@scripts/setup dev

demo: env
	@$(BIN)/afield run examples/stdlib_census.py $(ARGS)

test: env-dev
	@$(BIN)/python -m pytest -n $(JOBS) $(ARGS)

explore: env-dev
	@AFIELD_EXPLORE=1 $(BIN)/python -m pytest -n $(JOBS) -m hypothesis --timeout 3600 tests/unit $(ARGS)

chaos: env-dev
	@PYTHONPATH=tests $(BIN)/python -m chaos $(ARGS)

check: env-dev
	$(BIN)/ruff format --check --quiet $(SOURCES)
	$(BIN)/ruff check --quiet $(SOURCES)
	$(BIN)/mypy $(SOURCES)
	$(BIN)/python -m scripts.diagrams --check
	$(BIN)/python -m pytest -q tests/unit/test_gates.py

bench: env-dev
	@$(BIN)/python -m benchmarks $(ARGS)

bench-scaling: env-dev
	@$(BIN)/python -m benchmarks.scaling $(ARGS)

bench-streams: env-dev
	@$(BIN)/python -m benchmarks.streams $(ARGS)

bench-peers: env-dev
	@$(BIN)/python -m benchmarks.peers $(ARGS)

bench-scheduler: env-dev
	@$(BIN)/python -m benchmarks.scheduler_scale $(ARGS)

trace: env-dev
	@$(BIN)/python -m benchmarks.trace_call $(ARGS)

profile: env-dev
	@$(BIN)/python -m benchmarks.profile $(ARGS)

format: env-dev
	$(BIN)/ruff check --fix --quiet $(SOURCES)
	$(BIN)/ruff format $(SOURCES)

lock:
	scripts/lock $(ARGS)

diagrams: env-dev
	$(BIN)/python -m scripts.diagrams

clean:
	rm -rf .venv build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
