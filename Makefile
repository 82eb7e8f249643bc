# make demo: install and run the demonstration.   make test: install, lint and run every test.
# make test-fast: the tests that need no browser, no second process and little time.
PYTHON ?= python3
BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check

# Processes of pytest, of 1 to 2 GB each.
WORKERS ?= 2
PYTEST := $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

.PHONY: demo test test-fast browser lint format bench clean

demo: .venv/.installed
	$(BIN)/otomatch demo

test: lint browser
	$(PYTEST)

# Without a browser, training in several processes, kills and other tests of several seconds.
test-fast: .venv/.installed-dev
	$(PYTEST) -m "not slow"

# The tests of the page need a browser; where none can be installed they are skipped.
browser:
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || \
	command -v google-chrome >/dev/null || ! command -v apt-get >/dev/null || { \
	  [ "$$(id -u)" = 0 ] && as_root= || as_root="sudo -n"; \
	  echo "Installing chromium for the tests of the page ..."; \
	  out=$$({ $$as_root apt-get -qq update && \
	    $$as_root env DEBIAN_FRONTEND=noninteractive \
	      apt-get -qq install -y --no-install-recommends chromium; } 2>&1) || { \
	    echo "$$out" | tail -n 3; \
	    echo "... not allowed or not possible: these tests are skipped"; }; }

lint: .venv/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: .venv/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: .venv/.installed-dev
	for script in bench/*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

clean:
	rm -rf .venv build dist otomatch-demo

.venv/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "otomatch needs Python 3.11 or newer: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv .venv

# --no-deps: their declared dependencies are not needed here, and one of them does not build.
.venv/.installed: pyproject.toml constraints.txt requirements-no-deps.txt | .venv/bin/python
	@echo "Installing into .venv (about 1.5 GB; a minute or two) ..."
	$(INSTALL) --constraint constraints.txt --editable '.[web]'
	$(INSTALL) --no-deps --requirement requirements-no-deps.txt
	touch $@

.venv/.installed-dev: .venv/.installed
	$(INSTALL) --constraint constraints.txt --editable '.[dev]'
	touch $@
