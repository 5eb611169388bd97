# `make demo` and `make test` do all set-up on a fresh machine: a virtual environment in .venv with the requirements.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo web test test-all lint format clean

demo: .venv/.installed
	$(BIN)/python demo.py --overwrite --input load/samples/coffee.png --scale 4 --output out/coffee_x4.png

web: .venv/.installed-web
	$(BIN)/python app.py --open

test: lint
	$(BIN)/python -m pytest -m "not sanitizer"

# With all cases of the native routines on other builds, for minutes.
test-all: lint
	$(BIN)/python -m pytest

lint: .venv/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

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
