# Every target stands alone on a machine that has Rust, gcc, make, git and Python 3: what else it needs it
# installs with apt (as root or by sudo) and says so.

CARGO ?= cargo
# Tools of the checks that are built from source are kept across checkouts.
TOOLS ?= $(HOME)/.cache/compose-upgrade
DENY_VERSION := 0.20.2
DENY := $(TOOLS)/bin/cargo-deny
NEXTEST := $(shell command -v cargo-nextest 2>/dev/null)

.PHONY: help build engine images demo test bench faults kills lint deny advisories
.DEFAULT_GOAL := help

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

build: ## build the binaries client and fleet into target/release
	$(CARGO) build --release --locked --bins

engine: ## install and start Docker Engine and Compose v2 where they are missing
	@scripts/engine

images: engine ## build the guestbook's images into the engine
	@scripts/guestbook-images

demo: build images ## install, upgrade and roll back the guestbook under load
	@scripts/demo

test: images ## run all tests, those against the real engine included
	@scripts/need busybox-static /bin/busybox
	$(CARGO) test --locked --doc
ifeq ($(NEXTEST),)
	$(CARGO) test --locked --all-targets
else
	$(CARGO) nextest run --locked --all-targets --no-fail-fast
endif

bench: build images ## compare downtime, the way back, backups and downloads with Compose, the engine, tar, restic, curl, aria2c and docker pull
	@benches/downtime $(BENCH)
	@benches/rollback $(BENCH)
	@benches/backup $(BENCH)
	@benches/freeze $(BENCH)
	@benches/download $(BENCH)
	@benches/bytes

faults: images ## kill, break and fill everything at every step, under a writing client (FAULTS="--seed 2 --only undo")
	@scripts/need busybox-static /bin/busybox
	$(CARGO) test --locked --test faults -- $(FAULTS)

kills: engine ## 1,000 random kills and faults on the engine's socket (KILLS="--count 50 --seed 7")
	@scripts/need busybox-static /bin/busybox
	$(CARGO) test --locked --test faults -- --kills 1000 $(KILLS)

lint: deny ## check formatting, clippy, scripts, licences and sources of dependencies
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	$(CARGO) clippy --locked --test faults -- -D warnings
	$(CARGO) clippy --locked --features benches --bins -- -D warnings
	@scripts/need shellcheck
	shellcheck scripts/as-root scripts/engine scripts/own-engine scripts/guestbook-* scripts/need .ci/run \
		compose/guestbook/images/http-ok compose/guestbook/images/1.0.0/db/entrypoint

deny: $(DENY)
	$(DENY) --log-level warn check licenses bans sources

# Needs the network: the advisory database is a git repository. Not part of `lint`, which has to give the same
# answer on every machine and every day.
advisories: $(DENY) ## look the dependencies up in the RustSec advisory database
	$(DENY) check advisories

$(DENY):
	@echo "building cargo-deny $(DENY_VERSION) into $(TOOLS) (2 to 4 minutes, once)"
	$(CARGO) install cargo-deny --version $(DENY_VERSION) --locked --quiet --root $(TOOLS)
