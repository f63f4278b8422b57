# make run    the server with a demo stream at http://localhost:8080/
# make test   everything that is tested, with real clients and a real browser
# make lint   formatting, lints, documentation, licences, unused dependencies
# make bench  side by side with ffmpeg and nginx; micro benches of packager and playlists
# make setup  what run and test need: system packages, the pages (called by them; quick when nothing is missing)
# make fuzz   every fuzz target for FUZZ_SECONDS (needs a nightly toolchain)

SHELL := /bin/bash
export PATH := $(HOME)/.cargo/bin:$(PATH)
FUZZ_SECONDS ?= 60

.PHONY: run test lint bench setup setup-test setup-lint setup-bench page fuzz dist

run: setup
	cargo run --release --locked -- demo

test: setup-test page
	cargo test --locked --no-fail-fast
	tests/browser/run

lint: setup-lint page
	cargo fmt --all --check
	cargo clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --document-private-items
	cargo deny --locked check bans licenses sources
	cargo machete
	cd web && npm run --silent check

bench: setup-bench page
	benches/run

setup: page
	@scripts/setup build

setup-test:
	@scripts/setup build test

setup-lint:
	@scripts/setup build lint

setup-bench:
	@scripts/setup build test bench

page:
	@scripts/setup build page

fuzz: setup
	fuzz/run $(FUZZ_SECONDS)

dist: setup
	cargo build --profile dist --locked
