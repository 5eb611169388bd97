# `make demo` and `make test` do all set-up on a fresh machine: a virtual environment in .venv with the requirements.
PYTHON ?= python3
BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest --numprocesses logical --maxprocesses 8 --dist worksteal

.PHONY: demo web test test-all lint format clean lerf-runtime

demo: .venv/.installed
	$(BIN)/python demo.py --overwrite --input load/samples/coffee.png --scale 4 --output out/coffee_x4.png

web: .venv/.installed-web
	$(BIN)/python app.py --open

test: lint
	$(PYTEST) -m "not sanitizer and not thorough and not browser"

# With all cases of the native routines on other builds, all combinations of parameters, and the page in chromium, where
# that is installed, for minutes.
test-all: lint
	$(PYTEST)

lint: .venv/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# The C library of LeRF's LUTs ahead of time: demo.py needs no compiler for them then.
lerf-runtime: .venv/.installed
	$(BIN)/pip wheel --quiet --no-deps --wheel-dir dist runtime/lerf
	$(BIN)/pip install --quiet --force-reinstall --no-deps dist/continua_lerf-*.whl

format: .venv/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv out

.venv/.installed: requirements.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --requirement requirements.txt
	touch $@

.venv/.installed-web: .venv/.installed pyproject.toml
	$(BIN)/pip install --quiet '.[web]'
	touch $@

.venv/.installed-dev: .venv/.installed requirements-dev.txt
	$(BIN)/pip install --quiet --requirement requirements-dev.txt
	touch $@
