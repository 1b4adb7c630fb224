# make demo [CT=folder]   a CT series in, its quality report in an archive
# make test               lint and tests; CI runs this, then a shorter soak and test-viewer
# make soak [KILLS=100] [SEED=…]     kills, power cuts, full disks: nothing lost, nothing doubled; the report is kept in build/soak
# make test-viewer        whether results appear in OHIF, in a browser; the pictures are kept in build/viewer
# make fuzz [INPUTS=2000] [SEED=…]   inputs that no honest peer sends, against the receiver
# make bench [ONLY=database,loading]   the benchmarks: a table each, and build/bench/NAME.json
# make bench-docs         takes those files over into docs/performance.md
PYTHON ?= python3
VENV := .venv
PEERS := dcmtk dicom3tools orthanc orthanc-dicomweb systemd
PEER_PROGRAMS := storescu echoscu dsr2html dcsrdump dciodvfy Orthanc systemd-analyze
VIEWER_PEERS := dcmtk orthanc orthanc-dicomweb orthanc-webviewer chromium
VIEWER_PROGRAMS := storescu dsr2html Orthanc chromium /usr/share/orthanc/plugins/libOrthancDicomWeb.so \
    /usr/share/orthanc/plugins/libOrthancWebViewer.so
export PATH := $(PATH):/usr/sbin:/sbin

.PHONY: demo test soak test-viewer fuzz bench bench-docs lint peers viewer-peers clean

demo: $(VENV)/installed
	$(VENV)/bin/python demo/demo.py $(if $(CT),--ct "$(CT)")

test: peers lint
	OMP_NUM_THREADS=1 $(VENV)/bin/pytest --numprocesses=2 --dist=loadfile --durations=15 $(PYTEST)

soak: peers $(VENV)/installed-dev
	OMP_NUM_THREADS=1 $(VENV)/bin/pytest tests/soak $(if $(KILLS),--kills=$(KILLS)) $(if $(SEED),--seed=$(SEED)) $(PYTEST)

test-viewer: viewer-peers $(VENV)/installed-viewer
	$(VENV)/bin/python tests/viewer/install_ohif.py build/viewer/ohif
	OMP_NUM_THREADS=1 $(VENV)/bin/pytest tests/viewer --durations=10 $(PYTEST)

fuzz: $(VENV)/installed-dev
	PYTHONPATH=tests $(VENV)/bin/python tests/fuzz.py $(if $(INPUTS),--inputs $(INPUTS)) $(if $(SEED),--seed $(SEED))

bench: $(VENV)/installed-dev
	$(VENV)/bin/python benchmarks/run.py $(ONLY)

bench-docs: $(VENV)/installed-dev
	$(VENV)/bin/python benchmarks/write_page.py

lint: $(VENV)/installed-dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports --no-cache

peers:
	@tests/install-peers "$(PEERS)" "$(PEER_PROGRAMS)"

viewer-peers:
	@tests/install-peers "$(VIEWER_PEERS)" "$(VIEWER_PROGRAMS)"

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

$(VENV)/installed-viewer: pyproject.toml | $(VENV)/bin/python
	@echo "Installing (torch alone is several GB; a minute or two)"
	$(VENV)/bin/pip install --quiet --editable '.[viewer]'
	@touch $@ $(VENV)/installed-dev $(VENV)/installed

clean:
	rm -rf $(VENV) build dist demo/out
