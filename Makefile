# Everything a newcomer needs: `make demo` and `make test` do all their own set-up.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
THIRD  := $(VENV)/.clients
NODE   := tests/clients/node

# Whatever the machine prefers, bytecode is kept: many processes of a test run import the same.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo test check torture zoo bench lock clean setup

$(STAMP): pyproject.toml requirements.lock
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --requirement requirements.lock
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

# Clients of other people, for tests/clients alone. Nothing of them is imported by the product.
$(THIRD): $(STAMP) tests/clients/requirements.txt tests/clients/django4.txt $(NODE)/package.json $(NODE)/package-lock.json
	$(BIN)/pip install --quiet --no-deps --requirement tests/clients/requirements.txt
	$(BIN)/pip install --quiet --no-deps --upgrade --target $(VENV)/django4 --requirement tests/clients/django4.txt
	$(BIN)/python -m tests.support.node
	touch $@

setup: $(STAMP) $(THIRD)

demo: $(STAMP)  ## the story on a scratch database; without a terminal it is played to its end unattended
	@if [ -t 1 ]; then set -x; $(BIN)/cutover demo $(ARGS); else set -x; $(BIN)/cutover demo --once $(ARGS); fi

test: $(STAMP) $(THIRD)  ## the whole suite, in parallel
	$(BIN)/pytest -n auto $(ARGS)

check: $(STAMP)  ## lint, types, layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

torture: $(STAMP)  ## workloads with known answers against the real service, under faults
	$(BIN)/python -m tests.torture $(ARGS)

zoo: $(STAMP)  ## applications of other people there and back, each installed on demand (ARGS="optuna --scratch DIR")
	$(BIN)/python -m tests.zoo $(ARGS)

bench: $(STAMP)  ## every benchmark, each with its ratio against a named peer
	$(BIN)/python -m benchmarks $(ARGS)

lock: $(STAMP)  ## renew the pinned versions
	$(BIN)/pip install --quiet pip-tools
	$(BIN)/pip-compile --quiet --extra test --no-emit-index-url --no-emit-find-links --no-header --strip-extras --allow-unsafe --output-file requirements.lock pyproject.toml

clean:
	rm -rf $(VENV) $(NODE)/node_modules .pytest_cache .mypy_cache .ruff_cache .hypothesis
