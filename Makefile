# make demo   runs all of Sightglass on real transactions; installs what is missing
# make live   today's price without a node: everything in one process, from peers of Bitcoin's network
# make test   everything that a change must pass
# make deps   installs what these two need, and prints the list first
# make test-deploy   tests what operators deploy: balancers, Redis with Sentinel and Cluster, containers (as root, some
#                    minutes); and make demo on a bare machine
# make chaos DURATION=3m SEED=1   injects random faults into a fleet with 500 clients; all must be current 5 s after the last
# make web    the dashboard's scripts: type checks and tests without a browser
# make browser   the dashboard in Chromium, against a real edge, Redis and ingester
# make bench-browser MINUTES=10   the dashboard's cost: scripting per frame, longest block, heap
# make build  bin/sightglass, which runs everything in one process; bin/ingester and bin/edge, for fleets
# make install   installs the programs and their systemd units: PREFIX=/usr/local DESTDIR=/somewhere
# make release   dist/*.tar.gz, *.deb and SHA256SUMS, reproducible on any machine: VERSION=v0.1.0, or a tag
# make deb    only dist/*.deb, the package for a home node
# make vuln   known vulnerabilities that affect the code
# make bench  benchmarks, including the fan-out to 2,000 clients compared with the floor
# make loadtest   the fan-out only, for longer: CLIENTS=10000 DURATION=10m PROTOCOL=delta CHURN=1000 STALLED=200 RATE=2
# make bench-accuracy DATA=../shared/data   the engine's accuracy on real data of known price
# make bench-attack DATA=../shared/data   what false payments beside honest ones reach, in half a minute
# make pictures   draws docs/*.svg
# make picture-dashboard   captures docs/dashboard.png, in six minutes
# make fuzz   each fuzz test for FUZZTIME (20s)
MODULES  := shared ingester edge infra
PACKAGES := $(MODULES:%=./%/...)
VERSION  := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
GOBUILD  := go build -trimpath -ldflags '-X main.version=$(VERSION)'

# Tools are pinned, so that a new linter version is a separate change.
LINT        := bin/tools/golangci-lint-2.15.0
CYCLONEDX   := bin/tools/cyclonedx-gomod-1.10.0
GOVULNCHECK := bin/tools/govulncheck-1.9.0
NFPM        := bin/tools/nfpm-2.45.2

# go.work names the required Go version. An older Go downloads it, which some distributions disable by default.
export GOTOOLCHAIN ?= auto

# Recipes look up external files in the shell, never by $(shell): make expands a whole recipe before it runs the first line,
# when on a new machine nothing is installed or downloaded yet.
# Two real mainnet blocks come with the btcd module: 574200 (2 May 2019) and 540107 (5 September 2018). `go list PACKAGE`
# downloads the module if necessary; `go list -m` does not.
BLOCKS   := blocks=$$(go -C ingester list -f '{{.Dir}}' github.com/btcsuite/btcd/wire)/testdata
BLOCK1   := "$$blocks"/block-0000000000000000001602407ac49862a7bca9d00f7f402db20b7be2f5de59d2.blk
BLOCK2   := "$$blocks"/block-00000000000000000021868c2cefc52a480d173c849412fe81c4e5ab806f94ab.blk

# What a release is for. On amd64, Debian's cross compiler builds for arm64; arm64 builds for itself only.
HOST          := $(patsubst aarch64,arm64,$(patsubst x86_64,amd64,$(shell uname -m)))
ARCHITECTURES ?= $(if $(filter amd64,$(HOST)),amd64 arm64,$(HOST))
CROSS         := gcc-aarch64-linux-gnu libc6-dev:arm64 libzmq5:arm64

# Packages that a target needs, including its prerequisites. They are listed and installed first, before anything is built.
NEEDS_build    := go ca-certificates gcc libc6-dev libzmq3-dev pkg-config
NEEDS_release  := $(NEEDS_build) $(if $(filter amd64,$(HOST)),$(if $(filter arm64,$(ARCHITECTURES)),$(CROSS)))
NEEDS_web      := npm
NEEDS_browser  := $(NEEDS_build) $(NEEDS_web) redis-server chromium
NEEDS_test     := $(NEEDS_browser) curl python3-websockets
NEEDS_loadtest := $(NEEDS_build) redis-server
NEEDS_chaos    := $(NEEDS_build) redis-server haproxy
NEEDS_deploy   := $(NEEDS_chaos) redis-sentinel nginx prometheus systemd systemd-container curl openssl git docker.io docker-compose debootstrap \
                  $(if $(filter amd64,$(HOST)),$(CROSS) qemu-user)
NEEDS          := $(addprefix needs-,build release web browser test loadtest chaos deploy)

FUZZTIME ?= 20s
PREFIX   ?= /usr/local
DIST     ?= dist
DATA     ?= ../shared/data
MINUTES  ?= 1

NODE_MODULES := infra/test/browser/node_modules/.package-lock.json

.PHONY: demo live build install release deb vuln deps test test-deploy chaos web browser bench-browser lint alone bench loadtest loadtest-build bench-accuracy bench-attack pictures picture-dashboard fuzz clean $(NEEDS)
.DEFAULT_GOAL := build
.NOTPARALLEL: # apt-get has one lock, and go uses all processors by itself

demo: needs-build
	@mkdir -p bin && $(GOBUILD) -o bin/sightglass ./infra/cmd/sightglass
	@$(BLOCKS) && exec bin/sightglass demo $(BLOCK1) $(BLOCK2)

live: needs-build
	@mkdir -p bin && $(GOBUILD) -o bin/sightglass ./infra/cmd/sightglass
	@exec bin/sightglass run --peers

deps: needs-test

$(NEEDS): needs-%:
	@infra/install-packages $(NEEDS_$*)

build: needs-build
	$(GOBUILD) -o bin/ingester ./ingester/cmd/ingester
	CGO_ENABLED=0 $(GOBUILD) -o bin/edge ./edge/cmd/edge
	$(GOBUILD) -o bin/sightglass ./infra/cmd/sightglass

# For one architecture: ARCHITECTURES=amd64
release: needs-release $(CYCLONEDX) $(NFPM)
	CYCLONEDX=$(CURDIR)/$(CYCLONEDX) NFPM=$(CURDIR)/$(NFPM) infra/release/build '$(VERSION)' '$(DIST)' $(ARCHITECTURES)

deb: needs-release $(NFPM)
	NFPM=$(CURDIR)/$(NFPM) infra/deb/build '$(VERSION)' '$(DIST)' $(ARCHITECTURES)

vuln: needs-build $(GOVULNCHECK)
	@infra/release/vuln $(GOVULNCHECK) $(MODULES)

# Does not build anything, so that root needs no compiler.
install:
	@DESTDIR='$(DESTDIR)' PREFIX='$(PREFIX)' infra/systemd/install

# The tests in infra run real programs and a browser, and wait most of the time: two packages share the machine. The fan-out
# to hundreds of clients runs alone.
test: deps alone lint web
	go test -race -count=1 $(filter-out ./infra/...,$(PACKAGES)) ./infra/localredis
	go test -race -count=1 -timeout 20m -p 2 $$(go list ./infra/... | grep -v -e /localredis$$ -e /fanout$$)
	go test -race -count=1 -timeout 20m ./infra/fanout

# Tests what operators deploy. Needs root for the containers. Tests that count seconds run alone.
# Under systemd, Debian's packages start their services (nginx, prometheus) on the default ports, which the tests do not use.
# `systemctl disable --now nginx prometheus` stops them.
test-deploy: needs-deploy $(CYCLONEDX) $(GOVULNCHECK) $(NFPM)
	go test -tags deploy -v -count=1 -timeout 20m -p 2 $(filter-out ./infra/test/deploy/proxy,$(patsubst %/.,./%,$(wildcard infra/test/deploy/*/.)))
	go test -tags deploy -v -count=1 -timeout 20m -p 1 ./infra/test/deploy/proxy ./infra/test/chaos

# make test-deploy includes a short run that tolerates a slow machine; this one does not.
chaos: needs-chaos
	DURATION=$(or $(DURATION),3m) LIMIT=$(or $(LIMIT),5s) go test -tags deploy -count=1 -v -timeout 20m ./infra/test/chaos

# The pages' scripts and their tests. Debian's npm conflicts with Node.js from other sources, which include npm.
web: needs-web $(NODE_MODULES)
	cd infra/test/browser && node_modules/.bin/tsc -p tsconfig.json
	cd infra/test/browser && node_modules/.bin/tsc -p tsconfig.worker.json
	cd infra/test/browser && node_modules/.bin/tsc -p tsconfig.test.json
	cd infra/test/browser && LC_ALL=C node --test *.test.js # some languages have other digits

# The pages in Chromium, against a real edge, Redis and ingester. `make test` includes this, without the pictures of all pages
# and states that this writes to infra/test/browser/out.
browser: needs-browser $(NODE_MODULES)
	PICTURES=1 go test -count=1 -v ./infra/test/browser

# The dashboard's cost in Chromium. MINUTES=10 sets how long the heap is measured.
bench-browser: needs-browser $(NODE_MODULES)
	MINUTES=$(MINUTES) go test -count=1 -v -timeout 0 -run TestPage_PrintsFigures ./infra/test/browser

$(NODE_MODULES): infra/test/browser/package-lock.json
	cd infra/test/browser && npm ci --ignore-scripts --no-audit --no-fund
	@touch $@

# Each module must build by itself, for users of a single module.
alone: needs-build
	@for m in $(MODULES); do echo "alone: $$m"; (cd $$m && GOWORK=off go build ./... && GOWORK=off go vet ./...) || exit 1; done

lint: needs-build $(LINT)
	@for m in $(MODULES); do echo "lint: $$m"; (cd $$m && ../$(LINT) run --allow-parallel-runners ./...) || exit 1; done

bin/tools/golangci-lint-%:
	@echo "building golangci-lint $* (some minutes, once)"
	@mkdir -p bin/tools/$* && GOFLAGS= GOWORK=off GOBIN=$(CURDIR)/bin/tools/$* go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v$*
	@mv bin/tools/$*/golangci-lint $@ && rmdir bin/tools/$*

# cyclonedx-gomod writes its own hash into its output, so its build must be reproducible as well.
bin/tools/cyclonedx-gomod-%:
	@mkdir -p bin/tools/$* && CGO_ENABLED=0 GOFLAGS=-trimpath GOWORK=off GOBIN=$(CURDIR)/bin/tools/$* go install github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@v$*
	@mv bin/tools/$*/cyclonedx-gomod $@ && rmdir bin/tools/$*

bin/tools/govulncheck-%:
	@mkdir -p bin/tools/$* && GOFLAGS= GOWORK=off GOBIN=$(CURDIR)/bin/tools/$* go install golang.org/x/vuln/cmd/govulncheck@v$*
	@mv bin/tools/$*/govulncheck $@ && rmdir bin/tools/$*

bin/tools/nfpm-%:
	@mkdir -p bin/tools/$* && CGO_ENABLED=0 GOFLAGS=-trimpath GOWORK=off GOBIN=$(CURDIR)/bin/tools/$* go install github.com/goreleaser/nfpm/v2/cmd/nfpm@v$*
	@mv bin/tools/$*/nfpm $@ && rmdir bin/tools/$*

bench: loadtest-build
	go test -run '^$$' -bench . -benchmem $(PACKAGES)
	bin/loadtest

# The environment configures the load test: `bin/loadtest --help` lists the settings.
loadtest: loadtest-build
	bin/loadtest

loadtest-build: needs-loadtest build
	$(GOBUILD) -o bin/loadtest ./infra/cmd/loadtest

bench-accuracy: needs-build
	@mkdir -p bin && $(GOBUILD) -o bin/accuracy ./ingester/cmd/accuracy
	bin/accuracy --data $(DATA)
	bin/accuracy --data $(DATA) --market

bench-attack: needs-build
	@mkdir -p bin && $(GOBUILD) -o bin/accuracy ./ingester/cmd/accuracy
	bin/accuracy --data $(DATA) --attack

pictures: needs-build
	@$(BLOCKS) && go run ./ingester/cmd/picture --out docs $(BLOCK1)

# The README's picture: the dashboard in Chromium after five minutes of the demo.
picture-dashboard: needs-browser $(NODE_MODULES)
	@mkdir -p bin && $(GOBUILD) -o bin/sightglass ./infra/cmd/sightglass
	@$(BLOCKS) && node infra/test/browser/picture.mjs docs/dashboard.png bin/sightglass demo $(BLOCK1) $(BLOCK2)

fuzz: needs-build
	@for d in $$(grep -rl --include='*_test.go' 'func Fuzz' $(MODULES) | xargs -n1 dirname | sort -u); do \
		for f in $$(grep -ho 'func Fuzz[A-Za-z0-9_]*' $$d/*_test.go | sed 's/func //'); do \
			echo "fuzz: $$d $$f"; go test ./$$d -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) || exit 1; \
		done; \
	done

clean:
	rm -rf bin
