# The two commands of a newcomer are `make demo` and `make test`.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help demo up down test soak chaos consumers fuzz takeover bench bench-quick build programs parts crds image chart deny tools

help: ## Shows this.
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 22

# The operator runs on a node where there can be one: the parts of that are built only there.
demo up: DEMO = --profile demo --no-default-features
demo up: PROGRAMS = $(DEMO) --bin aws-assume-role --example local
demo up: PARTS = tests/controlplane/build demo
demo: NODE ?= $(shell tests/node/able > /dev/null 2>&1 && echo 1)

demo: programs ## Shows the whole job on a local cluster, from nothing.
	@NODE=$(NODE) cargo run --quiet $(DEMO) --example local -- demo

up: programs ## Starts a local cluster with the operator, and leaves it running: make up NODE=1 with a node, on which it runs in Pods.
	@NODE=$(NODE) cargo run --quiet $(DEMO) --example local -- up

# Without Cargo: it must work also while the code does not build.
down: ## Ends the local cluster.
	@keeper=$$(cat target/dev/keeper.pid 2>/dev/null || true); \
	if [ -z "$$keeper" ] || ! kill -TERM "$$keeper" 2>/dev/null; then echo "The local environment is not running."; exit 0; fi; \
	while kill -0 "$$keeper" 2>/dev/null; do sleep 0.1; done; \
	rm -f target/dev/keeper.pid; echo "The local environment is down."

# Its parts are built only where it can run.
test: NODE ?= $(shell tests/node/able > /dev/null 2>&1 && echo 1)
test: build ## Runs all tests: format, lints, unit tests, end-to-end tests.
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --quiet -- --deny warnings
	cargo test --workspace --lib --bins --test the_house
	@# The simulation computes on one core while the stories mostly wait, and so do the chaos and the counts: beside each other. The group has a
	@# number of its own, by which all of it can be ended.
	@set -m; (DAYS=$(or $(DAYS),15) cargo test --test simulation -- --nocapture && cargo test --test chaos -- --nocapture \
	  && cargo run --quiet --example bench -- quick) > target/beside.log 2>&1 & beside=$$!; set +m; \
	trap 'kill -- -$$beside 2>/dev/null || true' EXIT; \
	cargo test --test stories -- --test-threads=5; \
	echo "waiting for what runs beside the stories, see target/beside.log"; \
	wait $$beside || { cat target/beside.log; exit 1; }; \
	cat target/beside.log

soak: build ## Simulates more months of operation: make soak SEEDS=1000. Also FIRST_SEED, DAYS and RESOURCES.
	SEEDS=$(or $(SEEDS),20) cargo test --test simulation every_promise -- --nocapture

# For what libFuzzer found before, and what it starts from. SECONDS and TARGET are variables of make, not of the shell.
fuzz: ## Looks for input that the operator stumbles over: make fuzz TARGET=template SECONDS=300. The targets are in tests/fuzz/targets.
	@command -v cargo-fuzz > /dev/null || { echo "cargo-fuzz is missing: cargo install cargo-fuzz"; exit 1; }
	@mkdir -p target/fuzz/corpus/$(or $(TARGET),spec)
	cargo fuzz run --fuzz-dir tests/fuzz --target-dir target/fuzz --sanitizer none $(or $(TARGET),spec) \
	  target/fuzz/corpus/$(or $(TARGET),spec) -- -max_total_time=$(or $(SECONDS),60) -timeout=20 -max_len=20000

# The parts are built beside the operator, which needs the machine for about as long.
build: PROGRAMS = --workspace --bins --examples --tests
build: PARTS = tests/controlplane/build && tests/sdks/build
build: programs

programs: tools
	@mkdir -p target/parts; \
	set -m; { export NODE=$(NODE); $(PARTS); } > target/parts/build.log 2>&1 < /dev/null & parts=$$!; set +m; \
	trap 'kill -- -$$parts 2>/dev/null || true' EXIT; \
	tail -n +1 -f target/parts/build.log --pid=$$parts 2>/dev/null & \
	cargo build $(PROGRAMS); \
	wait $$parts || { echo "The parts were not built, see target/parts/build.log"; exit 1; }

chaos: build ## Makes the real parts fail under the operator: make chaos SEED=1 MINUTES=30 REPLICAS=2.
	cargo test --test chaos -- --nocapture

consumers: build ## Proves with the AWS SDKs themselves what they do with the Secrets, and writes docs/consumers.md. It takes more than half an hour.
	tests/sdks/build all
	cargo run --quiet --example consumers

# The variables reach the bench through the environment. docs/developing.md says what they are.
bench: parts ## Measures the release build and writes docs/benchmarks.md; beside another operator: make bench OPERATOR=path CRD=path.
	cargo run --quiet --example bench

takeover: build ## Measures how long it takes until another replica leads, and writes it into docs/reliability.md.
	cargo run --quiet --example bench -- takeover

bench-quick: build ## Counts what the operator asks of the API server and of AWS, and how its memory grows.
	cargo run --quiet --example bench -- quick

parts: tools
	@mkdir -p target/parts
	tests/controlplane/build

crds: ## Writes the custom resource definitions anew from the types.
	cargo run --quiet --bin aws-assume-role -- crd > crds/awsassumeroles.pincette.net.yaml
	cp crds/awsassumeroles.pincette.net.yaml charts/aws-assume-role/crds/
	cargo run --quiet --bin aws-assume-role -- crd policies > crds/awsassumerolepolicies.pincette.net.yaml
	cp crds/awsassumerolepolicies.pincette.net.yaml charts/aws-assume-role/files/awsassumerolepolicies.yaml

# No registry is reached: the image is what image/root puts together. It goes into an archive that ctr, docker and kind load.
image: ## Builds the image of this machine's architecture with buildah: target/image/aws-assume-role.tar; BINARY=path takes one that is built.
	$(if $(BINARY),,cargo build --release --locked --bin aws-assume-role)
	@image/archive $(or $(BINARY),$${CARGO_TARGET_DIR:-target}/release/aws-assume-role) target/image $(TAG)

# What is served from there is what "helm repo add" wants. With Helm from the PATH, or else from the parts.
chart: ## Packages the chart, and makes a repository of it in target/chart.
	@PATH="$$PATH:$(CURDIR)/target/parts/bin"; command -v helm > /dev/null || { echo "helm is missing: make parts builds it"; exit 1; }; \
	rm -rf target/chart; \
	helm lint --strict charts/aws-assume-role; \
	helm package charts/aws-assume-role --destination target/chart; \
	helm repo index target/chart

# The list of advisories is fetched from the network. Without it: make deny CHECKS="bans licenses sources".
deny: ## Checks the licences, the sources and the known weaknesses of what the program is made of. The rules are in deny.toml.
	@command -v cargo-deny > /dev/null || { echo "cargo-deny is missing: cargo install --locked cargo-deny"; exit 1; }
	cargo deny --locked check $(or $(CHECKS),advisories bans licenses sources)

tools:
	@missing=0; \
	need() { command -v "$$1" > /dev/null || { echo "$$1 is missing: $$2"; missing=1; }; }; \
	need cargo "install Rust 1.95 or later, https://rustup.rs"; \
	need go "install Go 1.26 or later, https://go.dev/doc/install"; \
	need python3 "install Python 3.10 or later (Debian: apt-get install python3 python3-venv)"; \
	need cc "install a C compiler (Debian: apt-get install gcc libc6-dev)"; \
	need flock "install util-linux"; \
	exit $$missing
