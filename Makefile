# blendnet: `make demo` and `make test` set up what they need; see README.md.
PROFILE ?= demo
RESULTS ?= results
DATA ?= $(if $(BLENDNET_DATA),$(BLENDNET_DATA),data)
ONLY ?= *
DEVICE ?= auto
# The lock is for Python 3.11 and 3.12: brainscore-vision needs numpy<2, which ends there.
PYTHON ?= $(shell for p in python3.11 python3.12 python3; do \
  $$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null && { echo $$p; break; }; done)
BIN := .venv/bin
READY := .venv/.ready
FLAGS = --profile $(PROFILE) --results "$(RESULTS)" --data "$(DATA)" --only '$(ONLY)' --device $(DEVICE)
# Recordings other than the profile's: RECORDING='henaff2021 planted'.
CHOSEN = $(foreach name,$(RECORDING),--recording $(name))
# Where the runs are worked on: processes (JOBS=4) or SLURM jobs (SLURM='partition=gpu minutes=600').
UNITS = $(if $(EXECUTOR),--executor $(EXECUTOR)) $(if $(JOBS),--jobs $(JOBS)) $(if $(SLURM),--slurm $(SLURM))
# Steps that are not divided into runs are one job.
WHOLE = $(if $(EXECUTOR),--executor $(EXECUTOR)) $(if $(SLURM),--slurm $(SLURM))
TRAINING = $(if $(BUDGET),--budget $(BUDGET)) $(if $(TRACKER),--tracker $(TRACKER))
BLENDNET := $(BIN)/blendnet
# Where it is set, every command would compile some 10 s of libraries again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo all train score-brain status figures report verify power docs audit sbom test lint bench lock clean say setup
help:
	@sed -n 's/^#: //p' $(MAKEFILE_LIST)

#: make demo         the whole chain on embedded images and a planted recording (about 6 min)
#: make all          train, predict, score, correlate, draw, report      PROFILE=demo|cifar10|photos|blendeduibk|paper|full
#: make train        blended images -> checkpoints                       DATA=folder RESULTS=folder ONLY='resnet18-*' DEVICE=cuda
#:                   BUDGET=30m plans the epochs, TRACKER=tensorboard|wandb|mlflow|none
#:                   EXECUTOR=local JOBS=4, or EXECUTOR=slurm SLURM='partition=gpu minutes=600' (also all other steps)
#: make status       what is done, running, queued and failed, and the time left
#: make score-brain  checkpoints -> activations -> scores               RECORDING='henaff2021 planted' instead of the profile's
#: make figures      tables -> figures (no GPU, no torch, never trains)
#: make report       tables and figures -> report.html
#: make verify       recompute a sample of stored scores and compare
#: make power        how many networks and seeds an effect needs, from the effects found
#: make docs         the documentation as web pages -> docs/_build/html/index.html
#: make audit / sbom  known vulnerabilities of the locked packages; bill of materials
#: make test / lint / bench / clean

say:
	@echo "profile: $(PROFILE) (choose with PROFILE=demo|cifar10|photos|blendeduibk|paper), data: $(DATA)"

setup: $(READY)
$(READY): requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "blendnet needs Python 3.11 or 3.12 (found neither); install one or set PYTHON=/path/to/python3.11"; exit 1; }
	@echo "setting up .venv from requirements.lock (about 6 GB, 1 to 4 minutes)"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@awk '/^[A-Za-z]/{keep=/^uv==/} keep' requirements.lock > .venv/uv.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r .venv/uv.txt
	@$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes requirements.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $(READY)

demo: override PROFILE := demo
demo: say $(READY)
	@$(BLENDNET) all $(FLAGS)
	@echo
	@echo "figures: $(RESULTS)/demo/figures/   report: $(RESULTS)/demo/report.html"
	@echo "real data next:"
	@echo "  make all PROFILE=cifar10                 real photographs, monkey and human IT, fetched by itself"
	@echo "  make all PROFILE=photos DATA=folder      your photographs and recordings (blendnet data fetch --help)"

all: say $(READY)
	@$(BLENDNET) all $(FLAGS) $(TRAINING) $(UNITS)
train: say $(READY)
	@$(BLENDNET) train $(FLAGS) $(TRAINING) $(UNITS)
score-brain: say $(READY)
	@$(BLENDNET) extract $(FLAGS) $(CHOSEN) $(UNITS)
	@$(BLENDNET) score $(FLAGS) $(CHOSEN) $(UNITS)
status: $(READY)
	@$(BLENDNET) status --profile $(PROFILE) --results "$(RESULTS)"
figures: say $(READY)
	@$(BLENDNET) draw $(FLAGS) $(WHOLE)
report: say $(READY)
	@$(BLENDNET) report $(FLAGS) $(WHOLE)
verify: say $(READY)
	@$(BLENDNET) verify $(FLAGS) $(WHOLE)

power: say $(READY)
	@$(BLENDNET) power $(FLAGS) $(WHOLE)
docs: $(READY)
	@$(BIN)/python -m sphinx -q -b html docs docs/_build/html
	@echo "docs/_build/html/index.html"

audit: $(READY)
	@$(BLENDNET) audit $(if $(OFFLINE_OK),--offline-ok)
sbom: $(READY)
	@$(BLENDNET) sbom sbom.json

test: $(READY)
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder
lint: $(READY)
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy
bench: $(READY)
	@for b in benchmarks/[a-z]*.py; do n=$$(basename $$b .py); echo "bench $$n"; \
	  $(BIN)/python -m benchmarks.$$n --out benchmarks/results/$$n.md || exit 1; done

lock: $(READY)
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --no-header requirements.in -o requirements.lock

clean:
	@rm -rf $(RESULTS)/$(PROFILE)/checkpoints $(RESULTS)/$(PROFILE)/activations $(RESULTS)/$(PROFILE)/cache \
	  $(RESULTS)/$(PROFILE)/predictions $(RESULTS)/$(PROFILE)/inside $(RESULTS)/$(PROFILE)/scores $(RESULTS)/$(PROFILE)/manifests \
	  $(RESULTS)/$(PROFILE)/brainscore_layers
	@echo "removed the heavy products of profile $(PROFILE); tables, figures and report are kept"
