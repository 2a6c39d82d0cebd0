# Every target sets up what it needs; none needs root but the beds. `make help` lists them.
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
	$$p -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && { echo $$p; break; }; done)
VENV ?= .venv
BIN = $(VENV)/bin
# Most of their time the tests wait for a process, a camera or a broker: four side by side fit on two cores.
WORKERS ?= -n 4 --dist worksteal
# A test that hangs says where it does, and ends the run.
HANGING = -o faulthandler_timeout=600 -o faulthandler_exit_on_timeout=true

.PHONY: run test unit quick check help bench costs soak mosquitto campaigns-short campaigns bed bed-systemd bed-package bed-arm64 bed-page bed-prometheus bed-vm bed-fresh bed-homeassistant bed-node-red training-test old-runtime wheel coverage deb docs clean

##@ Every day

run: $(VENV)/demo ## the whole job on this machine: camera, model, broker, subscriber
	@$(BIN)/edged demo --seconds $(or $(SECONDS),30)

test: $(VENV)/dev mosquitto ## the tests, with a real Mosquitto
	$(BIN)/python -m pytest $(WORKERS) $(HANGING) tests/unit tests/contract tests/e2e

unit: $(VENV)/dev ## the tests that need no other process
	$(BIN)/python -m pytest $(WORKERS) $(HANGING) tests/unit

check: $(VENV)/dev ## what a change must pass before it is looked at
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

quick: check unit ## check and unit: within a minute

help: ## this list
	@awk -F ':.*## ' '/^##@ / { printf "\n%s\n", substr($$0, 5) } /^[a-z0-9-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

##@ Campaigns: faults by the thousand, from a seed

campaigns-short: $(VENV)/dev mosquitto ## a little of each campaign, and the beds that are built
	$(BIN)/python -m pytest tests/campaigns tests/beds --ignore=tests/beds/test_fresh.py # which is `make test` again

campaigns: $(VENV)/dev mosquitto ## every campaign in full: hours
	EDGED_CAMPAIGN=full $(BIN)/python -m pytest tests/campaigns -s

soak: $(VENV)/dev mosquitto ## a million frames, faster than a camera gives them: no process grows; 20 minutes. FRAMES=20000 for fewer
	EDGED_CAMPAIGN_COUNT=$(or $(FRAMES),1000000) $(BIN)/python -m pytest tests/campaigns/test_soak.py -s

##@ The bundled models

training-test: $(VENV)-training/made ## the tests of models/training, with PyTorch and the converter in a venv of their own
	$(VENV)-training/bin/python -m pytest tests/training

old-runtime: $(VENV)-old-runtime/made $(VENV)/dev ## the bundled family in tflite-runtime 2.14, which Python 3.11 still has
	$(BIN)/python -m pytest tests/contract/models/test_home_family.py

##@ Figures

bench: $(VENV)/dev ## edged beside what one would use instead, each in an environment of its own; writes docs/bench.*; minutes
	$(BIN)/python bench/side_by_side.py --write

costs: $(VENV)/dev mosquitto ## where time and memory go: the start by phase, processes by model, labels and rate; writes docs/costs.*; minutes
	$(BIN)/python bench/costs.py --write

##@ Beds: a board without the board; each needs root

bed: $(VENV)/dev mosquitto ## the real picamera2 on libcamera's virtual camera; 5 minutes the first time
	tests/beds/libcamera/build
	$(BIN)/python -m pytest tests/beds/test_libcamera.py

bed-systemd: $(VENV)/dev mosquitto ## the package as a service on a Debian that boots: installed, watched, killed, upgraded
	tests/beds/systemd/build
	$(MAKE) deb ARCH=amd64 SUITE=trixie
	$(BIN)/python -m pytest tests/beds/test_systemd.py tests/beds/test_systemd_kills.py tests/beds/test_instances.py -s

bed-package: $(VENV)/dev mosquitto ## the packages in apt's hands: install offline, upgrade, remove, purge, lintian; minutes
	tests/beds/package/build
	$(BIN)/python -m pytest tests/beds/test_package.py tests/beds/test_offline.py

bed-prometheus: $(VENV)/dev mosquitto ## the metrics, linted and scraped by Debian's Prometheus; needs no root
	tests/beds/prometheus/build
	$(BIN)/python -m pytest tests/e2e/test_metrics.py

bed-arm64: $(VENV)/dev mosquitto ## the packages for the Pi on Debian arm64, in user space under qemu; minutes
	tests/beds/arm64/build
	$(BIN)/python -m pytest tests/beds/test_arm64.py

bed-homeassistant: $(VENV)/dev mosquitto ## edged in a real Home Assistant: pause, models, kills, restarts, renames; needs Python 3.13; minutes
	tests/beds/homeassistant/build
	EDGED_BED_HOMEASSISTANT=1 $(BIN)/python -m pytest tests/contract/delivery/test_homeassistant.py tests/beds/test_homeassistant.py -s

bed-node-red: $(VENV)/dev mosquitto ## the flow of docs/examples in a real Node-RED, and AsyncAPI's own schemas; needs npm
	tests/beds/node-red/build
	$(BIN)/python -m pytest tests/e2e/test_examples.py tests/unit/delivery/test_promise.py

bed-page: $(VENV)/dev mosquitto ## the page in a real Chromium, and axe-core on it; needs chromium and npm; a minute
	tests/beds/page/build
	$(BIN)/python -m pytest tests/beds/test_page.py -s

bed-vm: ## V4L2 in a machine of its own, with the kernel's virtual camera; minutes
	tests/beds/vm/run

bed-fresh: $(VENV)/dev ## the README's commands on a Debian that has git, make and python3-venv; 15 minutes
	tests/beds/fresh/build
	$(BIN)/python -m pytest tests/beds/test_fresh.py -s

##@ What is handed out

wheel: $(VENV)/dev ## dist/edged-VERSION-py3-none-any.whl
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .

deb: $(VENV)/bin/python ## dist/edged_VERSION~deb12|13_ARCH.deb, with everything inside: make deb ARCH=arm64|amd64 SUITE=bookworm|trixie
	$(BIN)/python packaging/deb.py $(or $(SUITE),trixie) $(or $(ARCH),arm64)

coverage: $(VENV)/dev ## the control plane by tests that start no process: below 90 % of its lines, or of its branches, it fails
	$(BIN)/python -m coverage run --branch --source=edged/rollout,edged/daemon -m pytest -q tests/unit/rollout tests/unit/daemon
	$(BIN)/python -m coverage report --fail-under=90
	@$(BIN)/python -m coverage json -q -o - | $(BIN)/python -c "import json, sys; \
		t = json.load(sys.stdin)['totals']; share = 100 * t['covered_branches'] / t['num_branches']; \
		print(f'branches alone: {share:.1f} %'); sys.exit(share < 90)"

docs: $(VENV)/dev ## the documents that are made from the code: the contract, rooms, the tables of config.md
	$(BIN)/python docs/write_schemas.py
	$(BIN)/python docs/write_rooms.py
	$(BIN)/python docs/write_troubleshooting.py
	EDGED_WRITE_DOCS=1 $(BIN)/python -m pytest -q tests/unit/config/test_document.py

clean: ## removes .venv, dist and build
	rm -rf $(VENV) dist build

mosquitto: | $(VENV)/bin/python
	@tests/unpack_mosquitto $(VENV)/mosquitto

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
	@$(VENV)-training/bin/python -m pip install --quiet --disable-pip-version-check -r models/training/requirements.txt pytest hypothesis
	@touch $@

$(VENV)-old-runtime/made:
	@python3.11 -m venv $(VENV)-old-runtime
	@$(VENV)-old-runtime/bin/python -m pip install --quiet --disable-pip-version-check tflite-runtime==2.14.0 'numpy<2'
	@touch $@
