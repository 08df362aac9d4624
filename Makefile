# Two commands do everything on a fresh machine with Python >= 3.11: `make demo` and `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DATA ?= ../shared/data
JOBS ?= 2
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: install models demo test check lint types imports docs typescript lock bench bench-inference bench-gpu soak clean

install: $(STAMP) models ## a virtual environment with everything locked, and the two models

$(STAMP): requirements/dev.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "memoryd needs Python 3.11 or newer")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements/build.txt
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements/dev.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	touch $@

models: $(STAMP)
	$(BIN)/memoryd models pull

demo: install ## the main job on a real conversation: remember, recall, pack a context
	$(BIN)/python docs/examples/demo/standalone.py

test: check ## what CI runs

check: install lint types imports ## each process of the tests has servers and models of its own: about 2 GiB
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile

lint: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(STAMP)
	$(BIN)/mypy

imports: $(STAMP)
	$(BIN)/lint-imports

# Material announces MkDocs 2 with every build; docs/decisions.md has what we make of it.
docs: $(STAMP) ## the documentation as a site, in build/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

typescript: $(STAMP) ## a TypeScript client generated from the OpenAPI document compiles; needs Node.js and npm's registry
	mkdir -p typescript/build
	$(BIN)/python -m memoryd.http > typescript/build/openapi.json
	cd typescript && npm install --no-package-lock --no-audit --no-fund && npm run generate && npm run check

bench: install ## quality, latency, writes and filtered search through the API; reports in evals/reports
	$(BIN)/python -m evals.bench --data $(DATA)

bench-inference: install ## the inference runtime by itself beside bare ONNX Runtime; run it on a quiet machine
	$(BIN)/python -m evals.inference --data $(DATA)

bench-gpu: install ## the torch backend beside plain sentence-transformers in float16; wants a GPU
	$(BIN)/python -m pip install --quiet 'torch>=2.6' 'sentence-transformers>=5.0'
	$(BIN)/python -m evals.inference_gpu --data $(DATA)

soak: install ## the long tests at full length: 20 kills, Redis's data lost 6 times, a text of 500 MB
	MEMORYD_SOAK_KILLS=20 MEMORYD_SOAK_LOSSES=6 MEMORYD_SOAK_TEXT_MB=500 $(BIN)/python -m pytest tests/soak -o addopts=-q

lock: ## renew requirements/*.txt from pyproject.toml
	uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --no-annotate --custom-compile-command "make lock" \
		--upgrade pyproject.toml --extra dev --output-file requirements/dev.txt
	uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --no-annotate --custom-compile-command "make lock" \
		--upgrade pyproject.toml --extra server --extra embedded --output-file requirements/server.txt
	uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --no-annotate --custom-compile-command "make lock" \
		--upgrade requirements/build.in --output-file requirements/build.txt

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
