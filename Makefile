# Start with: make demo, make test.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO := demo
LOCK := requirements/dev.lock
# Two processes run the tests; one that has finished takes tests from the other.
PYTEST = bin/pytest -n 2 --dist worksteal

.DEFAULT_GOAL := help
.PHONY: help setup demo app test test-serve test-slow test-cloud scan check lint test-spark35 notebook bench bench-model bench-lda bench-serve soak soak-scale pictures lock clean

help:  ## list the targets
	@grep -E '^[a-z0-9-]+:.*##' Makefile | sed -E 's/:[^#]*## /\t/' | expand -t 16

setup: $(VENV)/.done  ## create .venv with verger, all versions pinned

$(VENV)/.done: $(LOCK) pyproject.toml scripts/setup
	scripts/setup $(PYTHON) $(VENV) $(LOCK)
	@touch $@

demo: setup  ## set up, render photos, run the chain on them
	@scripts/demo $(BIN) $(DEMO)

test: setup  ## the everyday tests: minutes
	$(VENV)/$(PYTEST) -m "not slow and not cloud"

app: setup  ## set up, start the service with the bundled model, and print its address
	$(BIN)/verger serve

test-serve: setup  ## the service: API, both databases, page in a browser, load; also its slow tests
	$(VENV)/$(PYTEST) tests/serve tests/database

test-slow: setup  ## the slow tests: real data, memory, kills, ten thousand damaged photos
	$(VENV)/$(PYTEST) -m "slow and not cloud"

test-cloud: setup scan .venv-spark35/.done  ## deployment to clouds, on stand-ins: needs Terraform; minutes
	$(VENV)/$(PYTEST) --dist loadfile -m cloud  # the fixtures of a file take minutes

# Known vulnerabilities of dependencies are checked online, by pip-audit in .github/workflows.
scan: .venv-scan/.done  ## check infra/ and .github with checkov, offline
	.venv-scan/bin/checkov --directory infra --directory .github --skip-download --quiet --compact

.venv-scan/.done: requirements/scan.lock
	$(PYTHON) -m venv .venv-scan
	.venv-scan/bin/pip install --quiet --no-compile --disable-pip-version-check --retries 5 --require-hashes -r $<
	@touch $@

lint: setup  ## style, types, layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

check: lint test test-slow test-cloud  ## lint, then every test

test-spark35: .venv-spark35/.done  ## the core tests on the oldest Spark
	.venv-spark35/$(PYTEST) -m core

.venv-spark35/.done: requirements/spark35.lock pyproject.toml scripts/setup
	scripts/setup $(PYTHON) .venv-spark35 requirements/spark35.lock
	@touch $@

notebook: setup  ## execute notebooks/verger.ipynb again, on renders
	$(BIN)/python -m notebooks.execute

bench: setup $(if $(filter peers camera,$(or $(PARTS),peers)),.venv-peers/.done)  ## speed: chain engines peers camera notebook reduction store packed listing cluster resume; hours; or only some parts: PARTS="chain notebook"
	$(BIN)/python -m benchmarks.run $(PARTS)

# A separate environment for Daft and Ray Data, which the part `peers` compares with verger.
.venv-peers/.done: requirements/peers.lock
	$(PYTHON) -m venv .venv-peers
	.venv-peers/bin/pip install --quiet --no-compile --disable-pip-version-check --retries 5 --require-hashes -r $<
	@touch $@

bench-model: setup  ## accuracy and speed of the bundled networks and of MobileNetV2; 20 minutes
	$(BIN)/python -m benchmarks.model

bench-serve: setup  ## the service under load, beside the bare kernel; needs vegeta, or Go to install it; 11 minutes
	$(BIN)/python -m benchmarks.serve

soak: setup  ## 50 runs with randomly killed processes, compared with undisturbed ones; 30 minutes
	$(BIN)/python -m benchmarks.soak

soak-scale: setup  ## 200,000 photos in one run, 16,480 before and after: speed and memory; ten minutes
	$(BIN)/python -m benchmarks.scale build/scale

bench-lda: setup  ## lda on a million synthetic vectors: time and peak memory on both engines; 6 GB of disk, ten minutes
	$(BIN)/python -m benchmarks.lda build/lda

pictures: docs/pictures/layers.svg $(patsubst %.dot,%.svg,$(wildcard docs/pictures/*.dot))  ## draw docs/pictures: the layers of the code; clouds, with Graphviz

docs/pictures/layers.svg: pyproject.toml scripts/draw_layers.py $(wildcard src/verger/*/__init__.py src/verger/*.py)
	$(or $(wildcard $(BIN)/python),$(PYTHON)) -m scripts.draw_layers

docs/pictures/%.svg: docs/pictures/%.dot
	dot -Tsvg $< -o $@

lock:  ## pin the dependencies of pyproject.toml again
	scripts/lock

clean:  ## remove everything that make can create again
	rm -rf $(VENV) .venv-spark35 .venv-scan .venv-peers $(DEMO) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
