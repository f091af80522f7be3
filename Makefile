# `make help` lists what there is. Building happens outside the clone, so that a fresh clone on the same machine starts warm.

CARGO_TARGET_DIR ?= $(HOME)/.cache/evertill/target
export CARGO_TARGET_DIR
BIN := $(CARGO_TARGET_DIR)/debug
# A registry that stumbles once does not fail a build.
export CARGO_NET_RETRY ?= 10

ifdef CI
export CARGO_INCREMENTAL := 0
LOCKED := --locked
endif

UI_SOURCES := $(shell find ui/src ui/public -type f) ui/index.html ui/package-lock.json ui/vite.config.ts ui/svelte.config.js ui/tsconfig.json

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo test check ui reconcile pictures fmt clean-demo bins bootstrap-demo bootstrap-test bootstrap-check

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-20s %s\n", $$1 (($$1 == "reconcile") ? " CSV=FILE" : ""), $$2 }' $(MAKEFILE_LIST)

demo: bootstrap-demo bins ## a shop on this machine: PostgreSQL, sync server, two tills, printers; runs until Ctrl-C
	@exec $(BIN)/evertill-demo

test: bootstrap-test ui bins ## everything that CI runs
	scripts/test.sh $(LOCKED)

check: bootstrap-check ui/dist/index.html ## format, lints, layering, dead links, licences, advisories
	scripts/check.sh $(LOCKED)

ui: ## check, test and build the app in the browser
	cd ui && npm run check && npm test
	$(MAKE) ui/dist/index.html

reconcile: bootstrap-demo bins ## enter a file of invoices at two tills through bad weather, and compare all sums
	@test -n "$(CSV)" || { echo "which file? make reconcile CSV=tests/fixtures/online-retail/invoices-sample.csv.gz" >&2; exit 2; }
	@exec $(BIN)/evertill-reconcile "$(CSV)"

pictures: bootstrap-test ui/dist/index.html ## a picture of every view in ui/pictures-out, each checked for accessibility
	cd ui && npm run pictures

fmt: ## format Rust and the app
	cargo fmt --all
	cd ui && npm run format

clean-demo: ## remove what the demo keeps, after asking
	@scripts/clean-demo.sh

bootstrap-demo bootstrap-test bootstrap-check:
	@scripts/bootstrap.sh $(@:bootstrap-%=%)

# The app is embedded in the programs that serve it: it is built first.
bins: ui/dist/index.html
	cargo build --workspace --bins $(LOCKED)

ui/dist/index.html: $(UI_SOURCES)
	cd ui && npm run build
	@touch $@
