# Everything that one does with this tree. `make` alone says what there is; `make ci` is what the
# continuous integration runs, and nothing else is.
#
# One profile, `dev` (optimised, see docs/decisions/0004-one-profile.md), builds everything but a real
# `make bench`.

.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.PHONY: help quickstart postgres oidc test lint doc bench fuzz-smoke ci ci-quickstart

help: ## Say what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

quickstart: ## A server of your own, a table encrypted, a key rotated to the end (ONCE=1, DIR=folder)
	cargo build --locked --bin bulla
	target/debug/bulla quickstart $(if $(ONCE),--once) $(if $(DIR),--dir "$(DIR)")

postgres: ## Say where PostgreSQL is, which the tests run; install it if there is none and this is root
	@.ci/postgres

oidc: ## Make the OpenID Connect provider ready, which the tests run; install node if there is none and this is root
	@.ci/oidc

test: postgres oidc ## Every test
	cargo test --locked --workspace

lint: ## Format, clippy, and what may be depended on
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	cargo deny --locked --log-level error check bans licenses sources
	@.ci/advisories

doc: ## The documentation of the code, without a warning
	RUSTDOCFLAGS=-Dwarnings cargo doc --locked --workspace --no-deps

ifdef BENCH_SMOKE
bench: ## What it costs, in calls a second (BENCH_SMOKE=1: only that the benches run)
	cargo bench --locked --profile dev --bench suite -- --test
	cargo bench --locked --profile dev --bench census -- 10
	cargo bench --locked --profile dev --bench rights -- --smoke
	cargo bench --locked --profile dev --bench audit_verify -- 10000
	cargo bench --locked --profile dev --bench audit_query -- 20000
	@.ci/append
	cargo bench --locked --profile dev --bench load --features bench-echo -- --smoke
else
bench:
	cargo bench --locked --bench suite
	cargo bench --locked --bench census
	cargo bench --locked --bench policy
	cargo bench --locked --bench rights
	cargo bench --locked --bench audit_verify
	cargo bench --locked --bench audit_query
	@.ci/append
	cargo bench --locked --bench load --features bench-echo
endif

fuzz-smoke: ## Every fuzz target for a few seconds (FUZZ_SECONDS=)
	fuzz/smoke

ci-quickstart:
	cargo build --locked --bin bulla
	folder=$$(mktemp -d); trap 'rm -rf "$$folder"' EXIT; \
	target/debug/bulla quickstart --once --dir "$$folder/q"

ci: ## All of it, as the continuous integration does
	$(MAKE) --no-print-directory lint
	$(MAKE) --no-print-directory doc
	@mkdir -p target
	$(MAKE) --no-print-directory test 2>&1 | tee target/test.log
	$(MAKE) --no-print-directory ci-quickstart
	$(MAKE) --no-print-directory fuzz-smoke
	BENCH_SMOKE=1 $(MAKE) --no-print-directory bench
	@echo; echo "what the tests said:"; grep -E '^ +Running|^ +Doc-tests|^test result' target/test.log
