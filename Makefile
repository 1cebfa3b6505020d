# make demo: draw a contact sheet with the weights that ship, say what is on ten pictures, and give two clips their sound.  make test: all tests.  make check: what runs before each commit.
PYTHON ?= $(firstword $(wildcard $(addsuffix /python3.11,$(subst :, ,$(PATH)))) python3)
BIN = .venv/bin
CODE = tonggan tests benchmarks scripts
WORKERS = --numprocesses=auto --maxprocesses=8 --dist=worksteal

.PHONY: demo test check format docs clean

.venv/core.stamp: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt --editable .
	touch $@

.venv/dev.stamp: .venv/core.stamp
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: .venv/core.stamp
	@$(BIN)/tonggan draw --captions docs/demo.jsonl --out out/demo --sheet out/demo.png
	@$(BIN)/tonggan describe docs/pictures
	@$(BIN)/tonggan sound docs/clip.mp4 -o out/demo.mp4 --preview out/demo-sound.png
	@$(BIN)/tonggan sound docs/game.mp4 --model game-clips-fast -o out/demo-game.mp4 --preview out/demo-game.png

test: .venv/dev.stamp
	scripts/with_postgresql.sh $(BIN)/pytest $(WORKERS)

check: .venv/dev.stamp
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/ruff check $(CODE)
	$(BIN)/mypy
	scripts/with_postgresql.sh $(BIN)/pytest $(WORKERS) -m 'not slow'

format: .venv/dev.stamp
	$(BIN)/ruff format $(CODE)
	$(BIN)/ruff check --fix $(CODE)

docs: .venv/dev.stamp
	$(BIN)/python -m typer tonggan.cli utils docs --name tonggan --output docs/cli.md
	$(BIN)/python scripts/settings_page.py

clean:
	rm -rf .venv out runs
