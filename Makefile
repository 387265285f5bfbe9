# make demo: the whole way on real pictures, without a download of data. make test: the tests.
# Both make a virtual environment first, once; the tests install more into it.
#
# PyTorch: if the environment has torch already, it is kept. Else a machine with an NVIDIA GPU gets
# pip's default build, and any other the version below, as a CPU build where pip finds one.
#   make demo VENV=path/to/env     use an environment of yours, with your torch
#   make demo TORCH=torch==2.12.0  choose what pip installs
#   make demo TORCH="torch --index-url URL"

PYTHON ?= python3
VENV ?= .venv
TORCH ?= $(if $(shell command -v nvidia-smi),torch,torch==2.13.0)
BIN := $(VENV)/bin
DEMO_READY := $(VENV)/.lowres-demo
READY := $(VENV)/.lowres-ready
# What the demo needs.
DEMO_EXTRAS := demo,study,report
# All extras but timm, which needs torchvision: there is not always a build for this torch.
EXTRAS := train,report,study,parquet,url,heif,ray,tensorboard,hub,demo
# What the tests need; `dev` in pyproject.toml says what each is for.
TESTERS := "pytest>=8.3" "pytest-xdist>=3.6" "hypothesis>=6.100" "playwright>=1.49" \
           "datasets>=4.0" "mlcroissant>=1.0" "webdataset>=1.0" "pyspng>=0.1.2" \
           "polars>=1.0" "ConfigSpace>=1.2" "optunahub>=0.3"
# A file of tests stays in one process, so that what its tests share is made once.
PYTEST := $(BIN)/python -m pytest --numprocesses auto --dist loadfile
# Python compiles what it imports by itself, and only that.
PIP := $(BIN)/python -m pip install --no-compile --disable-pip-version-check

# The oldest versions that pyproject.toml allows, in an environment of their own.
LOWEST ?= .venv-lowest
# The packages that open what lowres writes and that `make test` does without, in an environment of
# their own. torchvision and timm come without their dependencies, which would bring another torch.
CONSUMERS ?= .venv-consumers
CONSUMER_TESTS := tests/study/test_benchmark.py tests/study/test_runs.py tests/training/test_trackers.py \
  tests/loading/test_torch_dataset.py tests/networks/test_models.py tests/networks/test_trust.py \
  tests/training/test_optimizers.py tests/formats/test_parquet.py tests/formats/test_webdataset.py \
  tests/formats/test_edm.py tests/formats/test_url.py tests/store/test_publish.py tests/cli/test_publish.py \
  tests/comparing/test_fid.py
# Without ray and timm: the oldest ones that work are named in pyproject.toml.
LOWEST_EXTRAS := train,report,study,parquet,tensorboard,demo

.PHONY: demo quick test test-all test-gpu lint site lowest consumers audit clean

demo: $(DEMO_READY)
	$(BIN)/lowres demo

quick: $(READY)
	$(PYTEST) -m "not slow and not full"

test: $(READY)
	$(PYTEST) -m "not slow"

test-all: test
	$(PYTEST) -m slow

# On a machine with a GPU; the other tests hide it.
test-gpu: $(READY)
	$(BIN)/python -m pytest -m gpu

lint: $(READY)
	$(PIP) --quiet "mypy>=1.15" "ruff>=0.11"
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy

# The site, in build/site. It fails at any link that leads nowhere.
site: $(DEMO_READY)
	$(PIP) --quiet --editable ".[docs]"
	PATH="$(BIN):$$PATH" NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

lowest: $(LOWEST)/.lowres-ready
	$(LOWEST)/bin/python -m pytest --numprocesses auto --dist loadfile -m "not slow and not full"

consumers: $(CONSUMERS)/.lowres-ready
	$(CONSUMERS)/bin/python -m pytest --numprocesses auto --dist loadfile $(CONSUMER_TESTS)

audit: $(READY)
	$(PIP) --quiet "pip-audit>=2.7"
	$(BIN)/pip-audit --skip-editable

$(LOWEST)/.lowres-ready: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) --quiet "uv>=0.5"
	$(BIN)/uv venv --quiet --clear --python $(PYTHON) $(LOWEST)
	$(BIN)/uv pip install --quiet --python $(LOWEST)/bin/python --resolution lowest-direct \
	  --editable ".[$(LOWEST_EXTRAS)]" "pytest>=8.3" "pytest-xdist>=3.6" "hypothesis>=6.100"
	touch $@

$(CONSUMERS)/.lowres-ready: pyproject.toml tests/consumers.txt
	test -x $(CONSUMERS)/bin/python || $(PYTHON) -m venv $(CONSUMERS)
	$(CONSUMERS)/bin/python -m pip install --quiet torch==2.13.0  # the one of torchvision 0.28
	$(CONSUMERS)/bin/python -m pip install --quiet --editable ".[train,report,study,parquet,url,tensorboard,hub]" \
	  $(TESTERS) --requirement tests/consumers.txt
	$(CONSUMERS)/bin/python -m pip install --quiet --no-deps timm torchvision==0.28.*
	touch $@

$(DEMO_READY): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -c "import torch" 2>/dev/null || $(PIP) $(TORCH)
	$(PIP) --editable ".[$(DEMO_EXTRAS)]"
	touch $@

$(READY): $(DEMO_READY)
	$(PIP) --editable ".[$(EXTRAS)]" $(TESTERS)
	touch $@

clean:
	rm -rf .venv .venv-lowest demo
