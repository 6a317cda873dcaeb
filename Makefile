# The two commands that a newcomer needs: `make demo` and `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
DEMO ?= demo

.DEFAULT_GOAL := help
.PHONY: help demo test test-quick check format gpu-check docs clean

help: ## Say what can be made
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(BIN)/.installed: pyproject.toml
	@sh .ci/prepare-python $(PYTHON)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

demo: $(BIN)/.installed ## Profile five real models on a real Triton, place and export them, write a report
	$(BIN)/model-placer server install
	$(BIN)/model-placer run --config-file examples/demo.yaml
	@echo "Open the report in a browser: $(DEMO)/report.html"

test: $(BIN)/.installed check ## Run the checks and the tests
	$(BIN)/model-placer server install
	$(BIN)/python -m pytest -n 3 --dist loadgroup

test-quick: $(BIN)/.installed ## Run the tests that need neither Triton nor Docker
	$(BIN)/python -m pytest -n 2 --dist loadgroup -m "not triton and not docker and not slow"

check: $(BIN)/.installed ## Lint, formatting, types, order of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(BIN)/.installed ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

gpu-check: $(BIN)/.installed ## Check all that reads a GPU on the one here; without one, the check itself
	$(BIN)/model-placer server install
	$(BIN)/python benchmarks/gpu.py

docs: $(BIN)/.installed ## Build the documentation as a site, into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

clean: ## Remove what was made here
	rm -rf $(VENV) $(DEMO) site gpu-check .pytest_cache .mypy_cache .ruff_cache .hypothesis
