# What one does here; `make help` says it.

.PHONY: help demo test lint docs fuzz-smoke bench setup

help:
	@echo 'make demo        back up a PostgreSQL server, destroy it, and restore it to a moment of its past'
	@echo 'make test        all tests, with real PostgreSQL'
	@echo 'make lint        format, clippy for every feature, purity, dependencies, wasm'
	@echo 'make docs        the documentation, in target/doc'
	@echo 'make fuzz-smoke  every fuzz target for ten seconds'
	@echo 'make bench       the benchmarks'

demo: setup
	cargo run --features full --example quickstart

test:
	scripts/test

lint:
	cargo fmt --check
	scripts/check-features
	scripts/check-purity

docs:
	RUSTDOCFLAGS=-Dwarnings cargo doc --no-deps --all-features

fuzz-smoke:
	scripts/fuzz-smoke

bench:
	cargo bench --features full

setup:
	@scripts/setup-postgres
