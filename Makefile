# `make demo`, `make test` and `make check` do all the set-up themselves.
# Another Python: `make test PYTHON=python3.10 VENV=.venv310`.
PYTHON ?= python3
VENV ?= .venv
TESTS ?= tests
# All checks, or the names of some: `make check CHECKS="ruff import-linter"`.
CHECKS ?=
PIP = $(VENV)/bin/python -m pip --disable-pip-version-check

.PHONY: demo test test-training check docs bench clean

demo: $(VENV)/.ready
	$(VENV)/bin/s5-to-loihi demo demo_output

test: $(VENV)/.ready
	$(VENV)/bin/python -m pytest -n auto --dist loadgroup $(TESTS)

# What trains needs PyTorch (0.2 GB) and Lightning. Of aeon only the data of its wheel are read; what it
# depends on speaks against ours.
test-training: $(VENV)/.ready_to_train
	$(VENV)/bin/python -m pytest -n auto --dist loadgroup tests/test_training_*.py

check: $(VENV)/.ready_to_check
	.ci/check $(VENV)/bin $(CHECKS)

# The site is then in build/site.
docs: $(VENV)/.ready_to_check
	.ci/check $(VENV)/bin docs

bench: $(VENV)/.ready
	$(VENV)/bin/python benchmarks/lava_timesteps.py
	$(VENV)/bin/python benchmarks/full_export.py
	$(VENV)/bin/python benchmarks/simulators.py
	$(VENV)/bin/python benchmarks/mapping.py
	$(VENV)/bin/python benchmarks/cost_model.py
	$(VENV)/bin/python benchmarks/quantization.py
	$(VENV)/bin/python benchmarks/streaming.py

# Lava 0.10.0 is an ordinary dependency on Python 3.10; later versions need to be talked into it.
$(VENV)/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(0 if (3, 10) <= sys.version_info < (3, 14) else "needs Python 3.10 to 3.13, %s is %s; run: make PYTHON=python3.X" % (sys.executable, sys.version.split()[0]))'
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet -c constraints.txt -e '.[test]'
	$(PIP) install --quiet --no-deps --ignore-requires-python lava-nc==0.10.0
	@touch $@

$(VENV)/.ready_to_check: $(VENV)/.ready
	$(PIP) install --quiet -c constraints.txt -e '.[check,docs]'
	@touch $@

$(VENV)/.ready_to_train: $(VENV)/.ready
	$(PIP) install --quiet -c constraints.txt -e '.[train]'
	$(PIP) install --quiet --no-deps aeon==1.6.0
	@touch $@

clean:
	rm -rf .venv* build dist demo_output *.egg-info
