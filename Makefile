# The workspace's commands; longer ones are in scripts/. `make help` lists them.

.DEFAULT_GOAL := help
SHELL := bash

# CI must obey Cargo.lock.
LOCKED := $(if $(filter true,$(CI)),--locked)

# Always the whole workspace: for a single package cargo would choose other features of its
# dependencies, and compile them again.
WORKSPACE := $(LOCKED) --workspace

# `make run` serves https on 127.0.0.1:8443 with the host's embedded configuration, whose cluster
# profile is no cloud. Each start creates a certificate; its CA is .dev/ca.crt.
SERVE := serve --policies target/policies --strict --self-signed
# More flags: make run ARGS='--listen 127.0.0.1:9443'
ARGS :=

.PHONY: help
help: ## list these targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | while IFS=$$'\t' read -r target what; do \
		printf '  make %-13s %s\n' "$$target" "$$what"; done
	@printf '\nVariables: ARGS (run), SALLYPORT_WASM=rustup|debian (how components are compiled; default: try both).\n'

.PHONY: setup
setup: ## get what the build needs: crates, the wasm target
	@scripts/setup.sh

.PHONY: policies
policies: setup ## build policies and test guests into target/policies and target/guests
	@scripts/build-policies.sh

.PHONY: twins
twins: policies ## projects of `sallyport new` and the same policies in all languages (installs componentize-py, wit-bindgen; 10 minutes)
	cargo build $(WORKSPACE) --bin sallyport-tested
	@scripts/twins.sh rust c javascript typescript python cel

.PHONY: run
run: policies ## serve the shipped policies on https://127.0.0.1:8443 (CA: .dev/ca.crt)
	cargo build $(WORKSPACE) --bin sallyport
	target/debug/sallyport $(SERVE) $(ARGS)

.PHONY: test
test: policies ## run the tests: policies, cargo tests, every suite, policies in C, JavaScript and TypeScript
	@scripts/kubectl.sh --if-possible >/dev/null
	@scripts/check-core.sh
	cargo test $(WORKSPACE) --no-fail-fast
	target/debug/sallyport-tested test --cache-dir target/compiled --cache-size 1Gi tests/fixtures
	@scripts/twins.sh --if-possible --projects c
	@scripts/twins.sh --if-possible javascript typescript

.PHONY: drill
drill: policies ## hostile clients against the program under the memory limit of deploy/ (a control group, as root; 1 minute)
	cargo test $(WORKSPACE) --test all -- drill:: --nocapture

.PHONY: chart
chart: policies ## test the Helm chart with a real Helm and API server, and package it into target/dist (4 minutes)
	@scripts/chart.sh

.PHONY: monitoring-test
monitoring-test: policies ## the dashboard and the alerts by a real Prometheus (Debian's) that scrapes a host; doors of a real API server, from their opening to the alert's end (3 minutes)
	@prometheus=$$(scripts/prometheus.sh prometheus) && set -x && export SALLYPORT_PROMETHEUS=$$prometheus && \
		cargo test $(WORKSPACE) --test all -- --ignored monitoring:: && \
		cargo test $(WORKSPACE) --test cluster -- --ignored exposed::

.PHONY: registry-test
registry-test: policies ## policies in a real registry (Debian's docker-registry), with openssl as the other signer (1 minute)
	@scripts/registry-test.sh

.PHONY: assets
assets: ## get kube-apiserver, etcd and kubectl for the tests against a real cluster (once; up to 10 minutes)
	@scripts/assets.sh

.PHONY: lint
lint: fmt clippy doc ## formatting, clippy and rustdoc; every warning is an error

.PHONY: fmt
fmt:
	cargo fmt --all --check

.PHONY: clippy
clippy:
	cargo clippy $(WORKSPACE) --all-targets -- --deny warnings

.PHONY: doc
doc:
	RUSTDOCFLAGS='--deny warnings' cargo doc $(WORKSPACE) --no-deps

.PHONY: docs
docs: policies ## generate docs/rules.md from components, fixtures and presets; docs/schemas and docs/suites.md from the types
	WRITE_DOCS=1 cargo test $(WORKSPACE) --test rules_page
	WRITE_DOCS=1 cargo test $(WORKSPACE) --test all -- schemas suites_page

.PHONY: docs-site
docs-site: ## build the documentation as a site into target/docs-site (gets mdBook: 3 minutes once)
	@scripts/docs-site.sh

.PHONY: console
console: policies ## build the playground into target/console, a folder for any static server (Node 20)
	@scripts/console.sh

.PHONY: console-test
console-test: policies ## also: all suites with the host's answers in Node, and both pages in Chromium (4 minutes)
	@scripts/console.sh test

.PHONY: deploy-files
deploy-files: policies ## generate files of deploy/: the CustomResourceDefinition, the webhook configurations, the chart's copies and schema
	WRITE_DEPLOY=1 cargo test $(WORKSPACE) --test all generated

.PHONY: bench
bench: policies ## microseconds per evaluation; requests per second, start, reload and memory
	cargo bench $(WORKSPACE) --bench evaluation --bench serving --bench inventory --bench languages

.PHONY: bench-cluster
bench-cluster: policies assets ## milliseconds to create a Service on a real API server, by webhook; memory of the host
	@scripts/go-baseline.sh
	cargo bench $(WORKSPACE) --bench cluster

.PHONY: ci-files
ci-files: ## check workflows, GitHub Action, GitLab template and pre-commit hooks, with the program of `make test`
	@scripts/check-ci.sh

# More targets: make dist DIST_TARGETS='x86_64-unknown-linux-musl aarch64-apple-darwin'
DIST_TARGETS :=

.PHONY: dist
dist: setup ## build and test release archives in target/dist: static programs for Linux (slow, because of link-time optimisation)
	@scripts/dist.sh $(DIST_TARGETS)
	@scripts/check-dist.sh

.PHONY: image
image: ## build and test the container image in target/image, an OCI layout, from what `make dist` built
	@scripts/image.sh
	@scripts/check-image.sh

.PHONY: release-check
release-check: dist image chart ci-files docs-site twins ## also: licences and advisories, other systems, the tests on the released program
	@scripts/release-check.sh

.PHONY: clean
clean: ## remove everything that was built
	cargo clean
	rm -rf .dev webhook-host/console/embedded/*
