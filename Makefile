# The commands of this project. `make run` and `make test` set up everything they need.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# What is imported is compiled once; the tests start hundreds of processes.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: setup run test fuzz check bench crash docs clean

setup: $(STAMP)

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Relay needs Python 3.11 or newer, this is %s" % sys.version.split()[0])'
	@$(PYTHON) -m venv $(VENV) 2>/dev/null || sh tools/install-venv.sh $(PYTHON) $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

# Init in ./run, start the relay and a sink, send one message, show what became of it. PORT_BASE moves all ports.
RUN_DIR ?= run
run: setup
	@$(BIN)/relay demo $(RUN_DIR) $(if $(PORT_BASE),--port-base $(PORT_BASE))

# Six processes even on two cores, because much of it waits. A file stays in one process, slow files come first.
TEST_PROCESSES ?= 6
test: setup
	$(BIN)/pytest -n $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder tests

# Generated examples that were never tried before; `make test` tries the same ones each time.
fuzz: setup
	HYPOTHESIS_PROFILE=fuzz $(BIN)/pytest -n 4 $$(grep -rl '@given' tests)

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest -n 4 tests/unit

# Kill the product at random instants under load; nothing acknowledged may be lost.
KILLS ?= 1000
crash: setup
	$(BIN)/python -m tests.crash.kills --kills $(KILLS)

bench: setup
	$(BIN)/python -m bench

docs: setup
	$(BIN)/python -m relay.runtime.config.render
	$(BIN)/python -m relay.runtime.observe.page > docs/reference/metrics.md
	$(BIN)/python -m relay.runtime.cli.reference > docs/reference/cli.md
	$(BIN)/python -m relay.runtime.config.shaping_reference > docs/reference/shaping.md
	$(BIN)/python -m relay.runtime.observe.dashboard > config/grafana/relay.json
	$(BIN)/python -m relay.runtime.observe.dashboard events > config/grafana/events.json

clean:
	rm -rf $(VENV) run
