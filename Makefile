# Every developer act, one line each: `make help`. The work is in scripts/ and cargo.

PREFIX  ?= /usr/local
DESTDIR ?=
BUNDLE  ?=
IMAGE   ?=
ROUNDS  ?=

BINARIES = bin/knarr bin/knarr-image bin/knarr-monitor bin/knarr-netns bin/knarrd

.DEFAULT_GOAL := help
.PHONY: help build run image-run test test-engines test-knarrd conformance conformance-vm test-vm vm check lint fmt bench bench-engine bench-images install clean

help: ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 15

build: ## Build the optimised static binaries into bin/
	@scripts/setup build
	@scripts/build

run: build ## Run a busybox container that reports what it sees; BUNDLE=dir runs that bundle
	@scripts/setup run
	@scripts/run-bundle $(if $(BUNDLE),"$(BUNDLE)")

image-run: build ## Pull IMAGE=name, make a bundle of it and run that
	@scripts/setup run
	@scripts/run-image "$(IMAGE)"

test: build ## Run every test, with the binaries of bin/ on the real kernel (root)
	@scripts/setup test
	@scripts/check-docs
	KNARR="$(CURDIR)/bin/knarr" cargo test --locked --workspace --no-fail-fast

test-vm: build ## Run what needs cgroup v2 with controllers, systemd or a user session, in a virtual machine
	@scripts/setup vm
	@scripts/vm test

vm: build ## Open a root shell in that machine
	@scripts/setup vm
	@scripts/vm shell

test-engines: build ## Run dockerd, containerd, podman and buildah over knarr and over runc (root, minutes)
	@scripts/setup engines
	KNARR="$(CURDIR)/bin/knarr" cargo test --locked --package knarr-integration --test engines

test-knarrd: build ## Run the stock docker command over knarrd and over dockerd, and compare (root, minutes)
	@scripts/setup engines
	KNARR="$(CURDIR)/bin/knarr" cargo test --locked --package knarr-integration --test engines -- knarrd::

conformance: build ## Run runc's own suite with runc and with knarr, and put the figures into docs/conformance.md (root)
	@scripts/setup conformance
	@scripts/conformance

conformance-vm: build ## Run that suite in the virtual machine: cgroup v2, systemd, rootless (hours where it is emulated)
	@scripts/setup vm
	@scripts/setup conformance
	@scripts/conformance-vm

check: ## The fast inner loop: format, clippy, unit tests
	@scripts/setup lint
	cargo fmt --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	cargo test --locked --workspace --exclude knarr-integration --lib --bins

lint: build ## Format, clippy, man pages, and licences where cargo-deny is installed
	@scripts/setup lint
	cargo fmt --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	@scripts/check-docs
	@if command -v cargo-deny >/dev/null; then cargo deny check licenses bans sources; fi

fmt: ## Format the Rust sources
	cargo fmt

bench: build ## Compare with runc and crun, interleaved in the same rounds; ROUNDS=n
	@scripts/setup test
	@cargo build --locked --quiet --package knarr-integration --bins
	@KNARR="$(CURDIR)/bin/knarr" cargo run --locked --quiet --package knarr-integration --bin bench -- $(ROUNDS)

bench-engine: build ## Compare knarrd with dockerd: latency, rate, memory; ROUNDS=n
	@scripts/setup engines
	@scripts/setup bench
	@scripts/bench-engine $(ROUNDS)

bench-images: build ## Compare a pull into an empty store with dockerd and podman; ROUNDS=n
	@scripts/setup test
	@scripts/setup engines
	@scripts/bench-images $(ROUNDS)

install: $(BINARIES) ## Install into $(DESTDIR)$(PREFIX): binaries, man pages, systemd units
	install -d "$(DESTDIR)$(PREFIX)/bin" "$(DESTDIR)$(PREFIX)/share/man/man8" "$(DESTDIR)$(PREFIX)/lib/systemd/system"
	install -m 0755 $(BINARIES) "$(DESTDIR)$(PREFIX)/bin/"
	install -m 0644 docs/man/*.8 "$(DESTDIR)$(PREFIX)/share/man/man8/"
	install -m 0644 packaging/knarrd.socket "$(DESTDIR)$(PREFIX)/lib/systemd/system/"
	sed 's|/usr/local|$(PREFIX)|' packaging/knarrd.service >"$(DESTDIR)$(PREFIX)/lib/systemd/system/knarrd.service"

$(BINARIES):
	$(MAKE) build

clean: ## Remove everything that a build made
	rm -rf bin
	cargo clean
