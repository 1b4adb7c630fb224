# make demo [CT=folder]   a CT series in, its quality report in an archive
# make test               everything that CI checks
# make fuzz [INPUTS=2000] [SEED=…]   inputs that no honest peer sends, against the receiver
PYTHON ?= python3
VENV := .venv
PEERS := dcmtk dicom3tools orthanc orthanc-dicomweb systemd
PEER_PROGRAMS := storescu echoscu dsr2html dcsrdump dciodvfy Orthanc systemd-analyze
export PATH := $(PATH):/usr/sbin:/sbin

.PHONY: demo test fuzz lint peers clean

demo: $(VENV)/installed
	$(VENV)/bin/python demo/demo.py $(if $(CT),--ct "$(CT)")

test: peers lint
	OMP_NUM_THREADS=1 $(VENV)/bin/pytest --numprocesses=2 --dist=loadfile --durations=15 $(PYTEST)

fuzz: $(VENV)/installed-dev
	PYTHONPATH=tests $(VENV)/bin/python tests/fuzz.py $(if $(INPUTS),--inputs $(INPUTS)) $(if $(SEED),--seed $(SEED))

lint: $(VENV)/installed-dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports --no-cache

peers:
	@tests/install-peers "$(PEERS)" "$(PEER_PROGRAMS)"

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "ctiqa-node needs Python 3.11 or newer; set PYTHON=…"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: pyproject.toml | $(VENV)/bin/python
	@echo "Installing (torch alone is several GB; a minute or two)"
	$(VENV)/bin/pip install --quiet --editable .
	@touch $@

$(VENV)/installed-dev: pyproject.toml | $(VENV)/bin/python
	@echo "Installing (torch alone is several GB; a minute or two)"
	$(VENV)/bin/pip install --quiet --editable '.[dev]'
	@touch $@ $(VENV)/installed

clean:
	rm -rf $(VENV) build dist demo/out
