# Every target sets up what it needs; none needs root but the beds.
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
	$$p -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && { echo $$p; break; }; done)
VENV ?= .venv
BIN = $(VENV)/bin

.PHONY: training-test old-runtime bed bed-arm64 bed-package bed-systemd bed-vm deb run test check campaigns campaigns-short wheel schemas clean

run: $(VENV)/demo ## the whole job on this machine: camera, model, broker, subscriber
	@$(BIN)/edged demo --seconds $(or $(SECONDS),30)

test: $(VENV)/dev ## the tests, with a real Mosquitto
	@command -v mosquitto >/dev/null || test -x /usr/sbin/mosquitto || { echo "make test needs Mosquitto: sudo apt install mosquitto"; exit 1; }
	$(BIN)/python -m pytest tests/unit tests/contract tests/e2e

check: $(VENV)/dev ## what a change must pass before it is looked at
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

campaigns-short: $(VENV)/dev ## a little of each campaign, and the beds that are built
	$(BIN)/python -m pytest tests/campaigns tests/beds

campaigns: $(VENV)/dev ## every campaign in full: hours
	EDGED_CAMPAIGN=full $(BIN)/python -m pytest tests/campaigns -s

training-test: $(VENV)-training/made ## the tests of models/training, with PyTorch and the converter in a venv of their own
	$(VENV)-training/bin/python -m pytest tests/training

old-runtime: $(VENV)-old-runtime/made $(VENV)/dev ## the bundled family in tflite-runtime 2.14, which Python 3.11 still has
	$(BIN)/python -m pytest tests/contract/test_home_family.py

bed: $(VENV)/dev ## the real picamera2 on libcamera's virtual camera; needs root, 5 minutes the first time
	tests/beds/libcamera/build
	$(BIN)/python -m pytest tests/beds/test_libcamera.py

bed-systemd: $(VENV)/dev ## the package as a service on a Debian that boots: installed, watched, killed, upgraded; needs root
	tests/beds/systemd/build
	$(MAKE) deb ARCH=amd64 SUITE=trixie
	$(BIN)/python -m pytest tests/beds/test_systemd.py -s

bed-vm: ## V4L2 in a machine of its own, with the kernel's virtual camera; needs root, minutes
	tests/beds/vm/run

wheel: $(VENV)/dev
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .

deb: $(VENV)/bin/python ## dist/edged_VERSION~deb12|13_ARCH.deb, with everything inside: make deb ARCH=arm64|amd64 SUITE=bookworm|trixie
	$(BIN)/python packaging/deb.py $(or $(SUITE),trixie) $(or $(ARCH),arm64)

bed-arm64: $(VENV)/dev ## the packages for the Pi on Debian arm64, in user space under qemu; needs root, minutes
	tests/beds/arm64/build
	$(BIN)/python -m pytest tests/beds/test_arm64.py

bed-package: $(VENV)/dev ## the packages in apt's hands: install offline, upgrade, remove, purge, lintian; needs root, minutes
	tests/beds/package/build
	$(BIN)/python -m pytest tests/beds/test_package.py tests/beds/test_offline.py

schemas: $(VENV)/dev ## docs/schemas from the message classes
	$(BIN)/python docs/write_schemas.py

clean:
	rm -rf $(VENV) dist build

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "edged needs Python 3.11 to 3.13 with venv: sudo apt install python3 python3-venv"; exit 1; }
	@$(PYTHON) -m venv $(VENV)

$(VENV)/demo: pyproject.toml | $(VENV)/bin/python
	@echo "setting up $(VENV) (once, about a minute)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[demo]'
	@touch $@

$(VENV)/dev: pyproject.toml | $(VENV)/bin/python
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

$(VENV)-training/made: models/training/requirements.txt
	@$(PYTHON) -m venv $(VENV)-training
	@$(VENV)-training/bin/python -m pip install --quiet --disable-pip-version-check torch==2.13.0
	@$(VENV)-training/bin/python -m pip install --quiet --disable-pip-version-check -r models/training/requirements.txt pytest
	@touch $@

$(VENV)-old-runtime/made:
	@python3.11 -m venv $(VENV)-old-runtime
	@$(VENV)-old-runtime/bin/python -m pip install --quiet --disable-pip-version-check tflite-runtime==2.14.0 'numpy<2'
	@touch $@
