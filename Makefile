# `make app` opens the dashboard, `make test` runs the tests, `make test-sweeps` more cases of them, `make test-long` the
# campaigns that take longer; each does all the set-up itself.
PYTHON ?= python3
PORT ?= 8501
CAMPAIGN_ARGS ?=
# A process per core; the tests of a file stay together because they share what they set up.
PYTEST_ARGS ?= --numprocesses auto --dist loadfile --no-loadscope-reorder
BIN := .venv/bin
STAMP := .venv/.installed
# What only tests and checks need: tools, a browser's driver, and the extras they exercise (500 MB more).
TOOLS := .venv/.tools

.PHONY: app test test-sweeps test-long campaign mutants lint check chromium clean
.DEFAULT_GOAL := app

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "RankScope needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version). Run: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade --constraint constraints.txt pip setuptools wheel
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	@touch $@

$(TOOLS): $(STAMP)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .[onnx,ray] --group dev
	@touch $@

app: $(STAMP)
	$(BIN)/rankscope app --port $(PORT)

test: $(TOOLS) chromium
	$(BIN)/python -m pytest $(PYTEST_ARGS) -m "not long and not sweep"

# What `make test` shows on cases that differ, on all others: architectures, formats, types.
test-sweeps: $(TOOLS) chromium
	$(BIN)/python -m pytest $(PYTEST_ARGS) -m "sweep and not long"

# Thousands of examples of every law, hundreds of killed writers, the demo model, and the mutants.
test-long: $(TOOLS) chromium
	$(BIN)/python -m pytest $(PYTEST_ARGS) -m "long or hypothesis" --hypothesis-profile long
	$(BIN)/python -m tests.mutants

# Wrong input, kills and load against the whole program; CAMPAIGN_ARGS="bad_inputs --seed 7 --minutes 5" chooses.
campaign: $(TOOLS)
	$(BIN)/python -m tests.campaign $(CAMPAIGN_ARGS)

mutants: $(TOOLS)
	$(BIN)/python -m tests.mutants

lint: $(TOOLS)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

check: lint test test-sweeps

# The browser tests drive the system's Chromium; where it can be installed without asking, it is.
chromium:
	@command -v chromium chromium-browser google-chrome >/dev/null 2>&1 || { \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then \
	    echo "Installing Chromium for the browser tests"; \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y chromium >/dev/null; \
	  else echo "*** No Chromium found: the browser tests will be skipped. Install it with your system's package manager. ***"; fi; }

clean:
	rm -rf .venv build *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
