# The environment is made from requirements.lock whenever that file changes.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
STAMP := $(VENV)/installed

.DEFAULT_GOAL := help
.PHONY: help run worker migrate demo test check format lint types layers contract generate lock bench clean

help:                ## this list
	@grep -hE '^[a-z]+: .*##|^[a-z]+: +##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

run: $(STAMP)        ## serve on 127.0.0.1:50051, with an embedded PostgreSQL and the sample data set
	@exec $(RUN) -m server serve

worker: $(STAMP)     ## one more worker beside a running service
	@exec $(RUN) -m server worker

migrate: $(STAMP)    ## bring the database to the schema of this version
	@$(RUN) -m server migrate

demo: $(STAMP)       ## call the running service and show its answers
	@$(RUN) -m server demo

test: $(STAMP)       ## all tests
	@$(RUN) -m pytest

check: format lint types layers contract test ## every check

format: $(STAMP)     ## formatting
	@$(RUN) -m ruff format --check .

lint: $(STAMP)       ## style
	@$(RUN) -m ruff check .

types: $(STAMP)      ## static types
	@$(RUN) -m mypy

layers: $(STAMP)     ## who may import whom, and how large things may be
	@$(RUN) -m pytest -q tests/unit/test_architecture.py

contract: $(STAMP)   ## the contract: lint, no breaking change, generated code up to date
	@$(RUN) protos/generate.py --lint
	@$(RUN) protos/generate.py --breaking
	@$(RUN) protos/generate.py --check

generate: $(STAMP)   ## write the generated code anew
	@$(RUN) protos/generate.py

lock: $(STAMP)       ## resolve the dependencies anew
	@$(VENV)/bin/uv pip compile pyproject.toml --quiet --universal --extra demo --extra dev --upgrade \
		--generate-hashes --no-emit-index-url --no-annotate --no-header -o requirements.lock
	@sed -n 's/^sample = \["\(.*\)"\]/\1/p' pyproject.toml | $(VENV)/bin/uv pip compile - --quiet --no-deps \
		--generate-hashes --no-emit-index-url --no-annotate --no-header >> requirements.lock

bench: $(STAMP)      ## measure, as ratios to the peers where those are installed
	@$(RUN) tests/benchmarks/bench.py

clean:               ## remove the environment and what tools left behind
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .cache demo-output

# The lock is complete, so nothing is resolved; the sample's package is wanted for its files only.
$(STAMP): requirements.lock pyproject.toml .ci/bootstrap
	@bash .ci/bootstrap "$(PYTHON)" "$(VENV)"
	@$(RUN) -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	@$(RUN) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(STAMP)
