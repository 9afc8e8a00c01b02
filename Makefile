# Every target first makes .venv with what it needs, on any machine with Python 3.11+ and pip.
# Nothing has to be activated. A stamp file remembers that it was done.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help run test check bench bench-peers clean

help:  ## show this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 20

run: $(VENV)/.run  ## watch a fleet work through real text while agents are killed (DIR=folder)
	$(BIN)/fleetbus demo $(if $(DIR),--dir "$(DIR)")

test: $(VENV)/.dev  ## run the tests on a real server (ARGS="-k selector" chooses)
	$(BIN)/python -m pytest -n auto --dist loadfile $(ARGS) || { \
	  test $$? -eq 1 && echo "what failed beside others is run once more, alone" && \
	  $(BIN)/python -m pytest --last-failed --last-failed-no-failures none $(ARGS); }

check: $(VENV)/.dev  ## format, lint, types and import rules, without changing a file
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy .
	$(BIN)/lint-imports

bench: $(VENV)/.dev  ## measure it all and report (ARGS="--list" shows the scenarios)
	$(BIN)/fleetbus bench $(ARGS)

bench-peers: $(VENV)/.dev  ## install what 'make bench ARGS=peers' compares with (ARGS="celery arq")
	$(BIN)/python -m bench.peers.install $(ARGS)

clean:  ## remove .venv and everything else that was generated
	rm -rf $(VENV) .bench-peers build dist *.egg-info bench/edge/micropython/node_modules
	rm -rf .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# `make run` does without the developer's tools; whoever has them has both.

$(VENV)/.run: pyproject.toml
	$(make_venv)
	$(call install,.)
	@touch $@

$(VENV)/.dev: pyproject.toml
	$(make_venv)
	$(call install,.[dev])
	@touch $(VENV)/.run $@

# Debian keeps ensurepip in python3-venv, which may be missing: then the system's pip fills
# the environment from outside.
define make_venv
@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; v >= (3, 11) or sys.exit( \
  "fleetbus needs Python 3.11 or newer, this is %d.%d: make PYTHON=/path/to/python3" % v)'
@$(BIN)/python -m pip --version >/dev/null 2>&1 || { \
  echo "making $(VENV)"; \
  rm -rf $(VENV); \
  $(PYTHON) -m venv $(VENV) >/dev/null 2>&1 || { \
    rm -rf $(VENV); \
    $(PYTHON) -m venv --without-pip $(VENV) && \
    $(PYTHON) -m pip --python $(BIN)/python install --quiet pip; \
  } || { \
    rm -rf $(VENV); \
    echo "cannot make $(VENV): install pip (Debian: apt install python3-pip)" >&2; \
    exit 1; \
  }; \
}
endef

# uv does it in a fraction of pip's time, but does not read pip's configuration: where pip was
# told of another index, or where uv does not work, pip does it.
define install
@echo "installing $(1) into $(VENV)"
@if ! $(BIN)/python -m pip config list | grep -q index-url \
  && $(BIN)/python -m pip install --quiet --disable-pip-version-check uv \
  && UV_SYSTEM_CERTS=1 $(BIN)/uv pip install --quiet --python $(BIN)/python --editable '$(1)' \
    2>/dev/null; then :; \
else $(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '$(1)'; fi
endef
