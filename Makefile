# Weft's entry points. `make` alone lists them.

SHELL := /bin/bash
.DEFAULT_GOAL := help

# What the programs and their tests need from Debian 12.
LIBRARIES := libmnl-dev libnftnl-dev libssl-dev libnghttp2-dev libsqlite3-dev libre2-dev libyaml-dev zlib1g-dev pkg-config
PROGRAMS := crun conmon nftables iproute2 procps
TEST_PEERS := conntrack curl bind9-dnsutils dnsperf tcpdump nginx-light wrk nghttp2-client jq socat \
	strace openssl containernetworking-plugins etcd-server etcd-client python3 protobuf-compiler python3-pip haproxy libnginx-mod-stream faketime

RELEASE := .build/release
INSTALLED := weft weft-control weft-node weft-cni weft-dns weft-proxy shop
RELEASE_FLAGS := -c release --static-swift-stdlib -Xlinker -s

.PHONY: help
help: ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: deps
deps: ## install from Debian what building and running need
	@scripts/deps.sh $(LIBRARIES) $(PROGRAMS)

.PHONY: test-deps
test-deps: deps
	@scripts/deps.sh $(TEST_PEERS)

.PHONY: release
release: deps ## build the programs, optimised, into .build/release
	@echo "building release"
	@swift build $(RELEASE_FLAGS)

.PHONY: demo
demo: release ## the main job on real input: a cluster of three nodes, an application, failures, and away again
	@scripts/demo.sh $(RELEASE)

.PHONY: test
test: test-deps lint ## lint, unit tests and integration tests
	@scripts/test.sh

.PHONY: bench
bench: release test-deps ## every benchmark, beside its peers
	@scripts/bench.sh

.PHONY: soak
soak: release test-deps ## half an hour of mixed requests through weft-proxy, with killed backends and rewritten configuration
	@$(RELEASE)/bench-proxy soak --seconds 1800

.PHONY: lint
lint: ## the formatter's opinion of every Swift file
	@echo "lint"
	@swift format lint --strict --parallel --recursive Package.swift Sources Tests Benchmarks

.PHONY: up
up: release ## a cluster on this machine; `make down` takes it away
	@$(RELEASE)/weft up

.PHONY: down
down:
	@$(RELEASE)/weft down

.PHONY: install
install: release ## the programs into PREFIX/bin (default /usr/local)
	@install -d $(DESTDIR)$(or $(PREFIX),/usr/local)/bin
	@install -s -m 755 $(addprefix $(RELEASE)/,$(INSTALLED)) $(DESTDIR)$(or $(PREFIX),/usr/local)/bin
