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
.PHONY: help demo test check bench sim sim-long ui reconcile pictures window package fmt clean-demo bins shop-bins \
	bootstrap-demo bootstrap-test bootstrap-check bootstrap-window

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-20s %s\n", $$1 (($$1 == "reconcile") ? " CSV=FILE" : ""), $$2 }' $(MAKEFILE_LIST)

demo: bootstrap-demo shop-bins ## a shop on this machine: PostgreSQL, sync server, two tills, printers; runs until Ctrl-C
	@exec $(BIN)/evertill-demo

test: bootstrap-test ui bins package ## everything that CI runs
	scripts/test.sh $(LOCKED)

check: bootstrap-check ui/dist/index.html ## format, lints, layering, dead links, licences, advisories
	scripts/check.sh $(LOCKED)

bench: bootstrap-demo ui/dist/index.html ## every budget beside what this machine can do at best; BENCH_ARGS="--quick --only sale" for some of it
	cargo build --profile optimised -p load $(LOCKED)
	@exec $(CARGO_TARGET_DIR)/optimised/evertill-bench $(BENCH_ARGS)

ui: ## check, test and build the app in the browser
	cd ui && npm run check && npm test
	$(MAKE) ui/dist/index.html

sim: ui/dist/index.html ## worlds in which everything goes wrong: SEED=n replays one, FROM=a SEEDS=n runs many
	cargo build --workspace --bin evertill-sim $(LOCKED)
	@exec $(BIN)/evertill-sim $(if $(SEED),--seed $(SEED) $(if $(TRACE),--trace),--from $(or $(FROM),0) --seeds $(or $(SEEDS),100))

sim-long: ui/dist/index.html ## as many worlds as MINUTES allow, each with another seed; 480 minutes unless told
	cargo build --workspace --bin evertill-sim $(LOCKED)
	@exec $(BIN)/evertill-sim --from $(or $(FROM),1000000) --seeds 100000000 --minutes $(or $(MINUTES),480)

reconcile: bootstrap-demo shop-bins ## enter a file of invoices at two tills through bad weather, and compare all sums
	@test -n "$(CSV)" || { echo "which file? make reconcile CSV=tests/fixtures/online-retail/invoices-sample.csv.gz" >&2; exit 2; }
	@exec $(BIN)/evertill-reconcile "$(CSV)"

window: bootstrap-window ui/dist/index.html ## the till in a window; it lives in data/window, or in DATA=DIR
	cargo build --workspace --bin evertill $(LOCKED)
	@exec $(BIN)/evertill --data "$(or $(DATA),data/window)" $(ARGS)

package: bootstrap-window ui/dist/index.html ## the Debian package of the till: window, headless till, unit, device rules
	scripts/package.sh $(LOCKED)

pictures: bootstrap-test ui/dist/index.html ## a picture of every view in ui/pictures-out, each checked for accessibility
	cd ui && npm run pictures

fmt: ## format Rust and the app
	cargo fmt --all
	cd ui && npm run format

clean-demo: ## remove what the demo keeps, after asking
	@scripts/clean-demo.sh

bootstrap-demo bootstrap-test bootstrap-check bootstrap-window:
	@scripts/bootstrap.sh $(@:bootstrap-%=%)

# The app is embedded in the programs that serve it: it is built first.
bins: ui/dist/index.html
	cargo build --workspace --bins $(LOCKED)

# Without the window, which alone needs GTK and WebKitGTK.
shop-bins: ui/dist/index.html
	cargo build --bins $(LOCKED)

ui/dist/index.html: $(UI_SOURCES)
	cd ui && npm run build
	@touch $@
