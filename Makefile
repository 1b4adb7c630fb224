# make demo [CT=folder]   a CT series in, its quality report in an archive
# make test               lint and tests; CI runs this, then a shorter soak and test-viewer
# make soak [KILLS=100] [SEED=…]     kills, power cuts, full disks: nothing lost, nothing doubled; the report is kept in build/soak
# make test-viewer        whether results appear in OHIF, in a browser; the pictures are kept in build/viewer
# make fuzz [INPUTS=2000] [SEED=…]   inputs that no honest peer sends, against the receiver
# make bench [ONLY=database,loading]   the benchmarks: a table each, and build/bench/NAME.json
# make bench-docs         takes those files over into docs/performance.md
# make lock [UPGRADE=1]    requirements/*.txt, which all the above install from, anew from pyproject.toml
# make audit               known vulnerabilities of what is locked; Error 1: there are some, Error 3: nobody could be asked
# make sbom                what a node consists of, as CycloneDX: build/sbom.cdx.json
PYTHON ?= python3
VENV := .venv
PEERS := dcmtk dicom3tools orthanc orthanc-dicomweb systemd
PEER_PROGRAMS := storescu echoscu dsr2html dcsrdump dciodvfy Orthanc systemd-analyze
VIEWER_PEERS := dcmtk orthanc orthanc-dicomweb orthanc-webviewer chromium
VIEWER_PROGRAMS := storescu dsr2html Orthanc chromium /usr/share/orthanc/plugins/libOrthancDicomWeb.so \
    /usr/share/orthanc/plugins/libOrthancWebViewer.so
COMPILE = $(VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
    --custom-compile-command "make lock" $(if $(UPGRADE),--upgrade)
export PATH := $(PATH):/usr/sbin:/sbin

.PHONY: demo test soak test-viewer fuzz bench bench-docs lock audit sbom lint peers viewer-peers clean

demo: $(VENV)/installed
	$(VENV)/bin/python demo/demo.py $(if $(CT),--ct "$(CT)")

test: peers lint
	OMP_NUM_THREADS=1 $(VENV)/bin/pytest --numprocesses=2 --dist=loadfile --durations=15 $(PYTEST)

soak: peers $(VENV)/installed-dev
	OMP_NUM_THREADS=1 $(VENV)/bin/pytest tests/soak $(if $(KILLS),--kills=$(KILLS)) $(if $(SEED),--seed=$(SEED)) $(PYTEST)

test-viewer: viewer-peers $(VENV)/installed-dev
	$(VENV)/bin/python tests/viewer/install_ohif.py build/viewer/ohif
	OMP_NUM_THREADS=1 $(VENV)/bin/pytest tests/viewer --durations=10 $(PYTEST)

fuzz: $(VENV)/installed-dev
	PYTHONPATH=tests $(VENV)/bin/python tests/fuzz.py $(if $(INPUTS),--inputs $(INPUTS)) $(if $(SEED),--seed $(SEED))

bench: $(VENV)/installed-dev
	$(VENV)/bin/python benchmarks/run.py $(ONLY)

bench-docs: $(VENV)/installed-dev
	$(VENV)/bin/python benchmarks/write_page.py

lock: $(VENV)/installed-dev
	$(COMPILE) pyproject.toml --extra dev --extra viewer --output-file requirements/dev.txt
	$(COMPILE) pyproject.toml --constraints requirements/dev.txt --output-file requirements/node.txt
	$(COMPILE) requirements/build.in --constraints requirements/dev.txt --output-file requirements/build.txt

audit: $(VENV)/installed-dev
	$(VENV)/bin/python supply/audit.py

sbom: $(VENV)/installed-dev
	$(VENV)/bin/python supply/sbom.py

lint: $(VENV)/installed-dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/mypy supply
	$(VENV)/bin/lint-imports --no-cache

peers:
	@tests/install-peers "$(PEERS)" "$(PEER_PROGRAMS)"

viewer-peers:
	@tests/install-peers "$(VIEWER_PEERS)" "$(VIEWER_PROGRAMS)"

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "ctiqa-node needs Python 3.11 or newer; set PYTHON=…"; exit 1; }
	$(PYTHON) -m venv $(VENV)

# From the lock files alone: pip takes nothing whose SHA-256 is not in them, the tools that build included.
define install
@echo "Installing (torch alone is several GB; a minute or two)"
$(VENV)/bin/pip install --quiet --require-hashes --requirement requirements/build.txt
$(VENV)/bin/pip install --quiet --require-hashes --no-build-isolation --requirement $(1)
$(VENV)/bin/pip install --quiet --no-index --no-deps --no-build-isolation --editable .
endef

$(VENV)/installed: requirements/build.txt requirements/node.txt pyproject.toml | $(VENV)/bin/python
	$(call install,requirements/node.txt)
	@touch $@

$(VENV)/installed-dev: requirements/build.txt requirements/dev.txt pyproject.toml | $(VENV)/bin/python
	$(call install,requirements/dev.txt)
	@touch $@ $(VENV)/installed

clean:
	rm -rf $(VENV) build dist demo/out
