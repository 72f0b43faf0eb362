# Every recipe is about a line of shell; what is longer has a file of its own in .ci/ or tests/support/.
VENV ?= .venv
PYTEST ?= $(VENV)/bin/pytest
# How many processes share the tests.
WORKERS ?= 2
export PATH := $(PATH):/usr/sbin:/sbin
# The hash seed varies from run to run, so that no output can rest on it; pytest prints it, and setting it repeats a run.
export PYTHONHASHSEED ?= $(shell od -An -N2 -tu2 /dev/urandom | tr -d ' ')

help: ## say what each target is for (the default)
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1\t/p' Makefile | while IFS='	' read -r name what; do printf '  make %-10s %s\n' "$$name" "$$what"; done

demo: $(VENV)/.installed debian ## a whole mesh on this machine, without root: make demo [STAY=1]
	@$(VENV)/bin/mizzen demo $(if $(STAY),--stay)

test: $(VENV)/.installed debian ## every test suite, with the coverage that the project promises
	@.ci/debian etcd-server || true
	@$(PYTEST) -n $(WORKERS) --cov --cov-report= $(ARGS) && $(VENV)/bin/python -m tests.support.coverage_gate
	@$(if $(ARGS),true,.ci/e2e $(VENV)/bin --if-possible)

check: $(VENV)/.installed ## format, lint, types, layers and unit tests, in under a minute
	@.ci/check $(VENV)/bin

e2e: $(VENV)/.installed ## a real cluster on this machine (root), with real pods: make e2e [ARGS="--stay canary"]
	@.ci/e2e $(VENV)/bin $(ARGS)

golden: $(VENV)/.installed ## rewrite the goldens from what the compiler gives now; review the diff as code
	@$(PYTEST) tests/golden tests/chart --update-golden && git --no-pager diff --stat -- tests/golden tests/chart

crds: $(VENV)/.installed ## rewrite crds/ from the models
	@$(VENV)/bin/python -m tests.support.crd_files

api-support: $(VENV)/.installed ## rewrite docs/api-support.md from the models and the words beside them
	@$(VENV)/bin/python -m tests.support.api_support

samples: $(VENV)/.installed ## rewrite the shop for a cluster from the one that the demo runs
	@$(VENV)/bin/python -m tests.support.cluster_shop

reference: $(VENV)/.installed ## rewrite docs/reference/ from the models
	@$(VENV)/bin/python -m tests.support.reference

bench: $(VENV)/.installed ## measure against the promised figures; results are kept in bench/results/
	@$(VENV)/bin/python -m bench.run $(ARGS)

bench-kube: $(VENV)/.installed ## the same on a real Kubernetes API server, built once if need be
	@$(VENV)/bin/python -m bench.kube $(ARGS)

images: ## build the images of the operator and the init container (needs Docker; CONTAINER=podman serves)
	@.ci/images

lock: ## resolve the requirements anew and write them with their hashes (needs uv)
	@.ci/lock

$(VENV)/.installed: requirements/dev.txt
	@.ci/venv $(VENV)

debian:
	@.ci/debian iptables iproute2 uidmap || true

.PHONY: help demo test check e2e golden crds api-support reference samples bench bench-kube images lock debian
.DEFAULT_GOAL := help
