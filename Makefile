# Everything starts here. `make demo` and `make test` set up whatever they need.
SHELL := /bin/sh
VENV := .venv
# An interpreter that works and has the right version; PYTHON=/path/to/python overrides.
PYTHON ?= $(shell for p in python3.11 python3.12 python3 python; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' 2>/dev/null && echo "$$p" && break; done)
RUN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: install demo test lint bench soak mutants lock clean

# Create the virtual environment from the locked, hashed requirements (after checking that the machine can hold it).
install: $(READY)

$(READY): requirements.txt requirements-build.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "kintsugi needs Python 3.11 or 3.12: install one, or run make PYTHON=/path/to/python3.11"; exit 1; }
	@"$(PYTHON)" kintsugi/preflight.py
	"$(PYTHON)" -m venv $(VENV)
	$(RUN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-build.txt
	$(RUN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --require-hashes -r requirements.txt
	$(RUN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps --editable .
	@touch $(READY)

# See tracking events become golden records: the whole stack, 100,000 events, one person explained (LOG=kafka: on a broker).
demo: install
	KINTSUGI_LOG=$(if $(LOG),$(LOG),directory) $(RUN)/kintsugi demo

# Style and types, then every test, on two workers.
test: lint
	$(RUN)/python -m pytest -n 2

# Style and types alone.
lint: install
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .
	$(RUN)/mypy

# Throughput, latency, lookups and memory, beside a plain Python program in the same run; Markdown and JSON in build/.
bench: install
	$(RUN)/python -m benchmarks

# The heavy runs at full size: many kills, a million events and identifiers, ten million links (8 GB); hours rather than minutes.
soak: install
	KINTSUGI_SOAK=1000000 $(RUN)/python -m pytest tests/stack tests/faults --timeout 3600
	$(RUN)/python -m benchmarks.bench_preview --identifiers 1000000
	$(RUN)/python -m benchmarks.bench_resolver --links 10000000

# Small wrongs done to identity/, and which of them its tests do not notice (ten minutes; SECONDS=60 for a glance).
mutants: install
	nice $(RUN)/python -m benchmarks.mutants --seconds $(if $(SECONDS),$(SECONDS),600)

# Compile requirements.txt anew from pyproject.toml (needs uv).
lock:
	uv pip compile --quiet --python-version 3.11 --extra dev --generate-hashes --no-emit-index-url \
		--custom-compile-command "make lock" pyproject.toml --output-file requirements.txt

# Remove the environment, caches and build output; the data in .kintsugi/ stays.
clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
