# make demo   the whole of Sightglass on real transactions, nothing else needed
# make test   everything that a change must pass
# make deps   only installs what these two need, and says what that is first
# make test-deploy   what operators do, for real: balancers, Redis with Sentinel and Cluster, containers (root, some minutes),
#                    and what newcomers do: make demo on a bare machine
# make chaos DURATION=3m SEED=1   a fleet is broken at random while 500 clients look at it; all current 5 s after the last fault
# make web    the dashboard's scripts alone: their types, their tests
# make browser   the dashboard in Chromium, before a real edge, Redis and ingester
# make bench-browser MINUTES=10             what it costs there: scripting for a frame, longest block, heap
# make build  bin/ingester and bin/edge
# make install  the programs and their systemd units: PREFIX=/usr/local DESTDIR=/somewhere
# make release  dist/*.tar.gz and SHA256SUMS, the same bytes wherever it is built: VERSION=v0.1.0, or a tag
# make vuln   known vulnerabilities that our code reaches
# make bench  what things cost, also the fan-out to 2,000 clients beside the least that it could cost
# make loadtest   the fan-out alone, for longer: CLIENTS=10000 DURATION=10m PROTOCOL=delta CHURN=1000 STALLED=200 RATE=2
# make bench-accuracy DATA=../shared/data   how right the price is, on real data whose truth is known
# make pictures                             draws docs/*.svg
# make fuzz   each fuzz test for a while
MODULES  := shared ingester edge infra
PACKAGES := $(MODULES:%=./%/...)
VERSION  := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
GOBUILD  := go build -trimpath -ldflags '-X main.version=$(VERSION)'

# Tools are pinned: a new linter finds new things, and that is a change of its own.
LINT        := bin/tools/golangci-lint-2.15.0
CYCLONEDX   := bin/tools/cyclonedx-gomod-1.10.0
GOVULNCHECK := bin/tools/govulncheck-1.9.0

# go.work names the Go that is needed, and an older one fetches that; some distributions' Go needs permission to.
export GOTOOLCHAIN ?= auto

# What is not of this repository is looked for in recipes, never by $(shell): make expands a whole recipe before it runs the
# first line, so that on a new machine nothing is installed or downloaded by then.
# Two real mainnet blocks come with the btcd module: 574200 (2 May 2019) and 540107 (5 September 2018). Asked for a package,
# Go downloads the module if it must; of a module (go list -m) it would say that it is nowhere.
BLOCKS   := blocks=$$(go -C ingester list -f '{{.Dir}}' github.com/btcsuite/btcd/wire)/testdata
BLOCK1   := "$$blocks"/block-0000000000000000001602407ac49862a7bca9d00f7f402db20b7be2f5de59d2.blk
BLOCK2   := "$$blocks"/block-00000000000000000021868c2cefc52a480d173c849412fe81c4e5ab806f94ab.blk

# What has to be installed, for all that a target does: it is said and installed at once, before anything is built.
NEEDS_build    := go ca-certificates gcc libc6-dev libzmq3-dev pkg-config
NEEDS_web      := npm
NEEDS_browser  := $(NEEDS_build) $(NEEDS_web) redis-server chromium
NEEDS_test     := $(NEEDS_browser) curl python3-websockets
NEEDS_loadtest := $(NEEDS_build) redis-server
NEEDS_chaos    := $(NEEDS_build) redis-server haproxy
NEEDS_deploy   := $(NEEDS_chaos) redis-sentinel nginx prometheus systemd systemd-container curl openssl git docker.io docker-compose debootstrap
NEEDS          := $(addprefix needs-,build web browser test loadtest chaos deploy)

FUZZTIME ?= 20s
PREFIX   ?= /usr/local
DIST     ?= dist
DATA     ?= ../shared/data
MINUTES  ?= 1

NODE_MODULES := infra/test/browser/node_modules/.package-lock.json

.PHONY: demo build install release vuln deps test test-deploy chaos web browser bench-browser lint alone bench loadtest loadtest-build bench-accuracy pictures fuzz clean $(NEEDS)
.DEFAULT_GOAL := build
.NOTPARALLEL: # apt-get has one lock, and go uses all processors by itself

demo: needs-build
	@mkdir -p bin && go build -o bin/demo ./infra/cmd/demo
	@$(BLOCKS) && exec bin/demo $(BLOCK1) $(BLOCK2)

deps: needs-test

$(NEEDS): needs-%:
	@infra/install-packages $(NEEDS_$*)

build: needs-build
	$(GOBUILD) -o bin/ingester ./ingester/cmd/ingester
	CGO_ENABLED=0 $(GOBUILD) -o bin/edge ./edge/cmd/edge

# For the architecture of this machine both programs, for the other at least the edge: ARCHITECTURES=amd64
release: needs-build $(CYCLONEDX)
	CYCLONEDX=$(CURDIR)/$(CYCLONEDX) infra/release/build '$(VERSION)' '$(DIST)' $(ARCHITECTURES)

vuln: needs-build $(GOVULNCHECK)
	@infra/release/vuln $(GOVULNCHECK) $(MODULES)

# Alone it builds nothing: root, who installs, need not have a compiler.
install:
	@DESTDIR='$(DESTDIR)' PREFIX='$(PREFIX)' infra/systemd/install

# The last ones run real programs, hundreds of clients and a browser: one after the other, or they measure each other.
test: deps alone lint web
	go test -race -count=1 $(filter-out ./infra/...,$(PACKAGES))
	go test -race -count=1 -p 1 ./infra/...

# What operators deploy, run for real: needs root for the containers. What counts seconds runs alone.
# Where systemd runs, Debian's packages start what they install, nginx and prometheus among them, on their usual ports;
# the tests have their own, elsewhere. `systemctl disable --now nginx prometheus` ends those.
test-deploy: needs-deploy $(CYCLONEDX) $(GOVULNCHECK)
	go test -tags deploy -v -count=1 -timeout 20m -p 2 $(filter-out ./infra/test/deploy/proxy,$(patsubst %/.,./%,$(wildcard infra/test/deploy/*/.)))
	go test -tags deploy -v -count=1 -timeout 20m -p 1 ./infra/test/deploy/proxy ./infra/test/chaos

# A short one is a part of make test-deploy, which forgives a slow machine; this does not.
chaos: needs-chaos
	DURATION=$(or $(DURATION),3m) LIMIT=$(or $(LIMIT),5s) go test -tags deploy -count=1 -v -timeout 20m ./infra/test/chaos

# The page's scripts, and what tests them. Debian's npm conflicts with a Node.js from elsewhere, which brings its own.
web: needs-web $(NODE_MODULES)
	cd infra/test/browser && node_modules/.bin/tsc -p tsconfig.json
	cd infra/test/browser && node_modules/.bin/tsc -p tsconfig.test.json
	cd infra/test/browser && node --test *.test.js

# The page in Chromium, before a real edge, Redis and ingester. `make test` does this too.
browser: needs-browser $(NODE_MODULES)
	go test -count=1 -v ./infra/test/browser

# What the page costs there: MINUTES=10 watches the heap for so long.
bench-browser: needs-browser $(NODE_MODULES)
	MINUTES=$(MINUTES) go test -count=1 -v -timeout 0 -run TestFigures ./infra/test/browser

$(NODE_MODULES): infra/test/browser/package-lock.json
	cd infra/test/browser && npm ci --ignore-scripts --no-audit --no-fund
	@touch $@

# Each module must build by itself, as it does for someone who takes only that one.
alone: needs-build
	@for m in $(MODULES); do echo "alone: $$m"; (cd $$m && GOWORK=off go build ./... && GOWORK=off go vet ./...) || exit 1; done

lint: needs-build $(LINT)
	@for m in $(MODULES); do echo "lint: $$m"; (cd $$m && ../$(LINT) run --allow-parallel-runners ./...) || exit 1; done

bin/tools/golangci-lint-%:
	@echo "building golangci-lint $* (some minutes, once)"
	@mkdir -p bin/tools/$* && GOFLAGS= GOWORK=off GOBIN=$(CURDIR)/bin/tools/$* go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v$*
	@mv bin/tools/$*/golangci-lint $@ && rmdir bin/tools/$*

# It writes its own hash into what it makes, so it must be the same everywhere, too.
bin/tools/cyclonedx-gomod-%:
	@mkdir -p bin/tools/$* && CGO_ENABLED=0 GOFLAGS=-trimpath GOWORK=off GOBIN=$(CURDIR)/bin/tools/$* go install github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@v$*
	@mv bin/tools/$*/cyclonedx-gomod $@ && rmdir bin/tools/$*

bin/tools/govulncheck-%:
	@mkdir -p bin/tools/$* && GOFLAGS= GOWORK=off GOBIN=$(CURDIR)/bin/tools/$* go install golang.org/x/vuln/cmd/govulncheck@v$*
	@mv bin/tools/$*/govulncheck $@ && rmdir bin/tools/$*

bench: loadtest-build
	go test -run '^$$' -bench . -benchmem $(PACKAGES)
	bin/loadtest

# Its settings are in the environment: `bin/loadtest --help` lists them.
loadtest: loadtest-build
	bin/loadtest

loadtest-build: needs-loadtest build
	$(GOBUILD) -o bin/loadtest ./infra/cmd/loadtest

bench-accuracy: needs-build
	@mkdir -p bin && $(GOBUILD) -o bin/accuracy ./ingester/cmd/accuracy
	bin/accuracy --data $(DATA)
	bin/accuracy --data $(DATA) --market

pictures: needs-build
	@$(BLOCKS) && go run ./ingester/cmd/picture --out docs $(BLOCK1)

fuzz: needs-build
	@for d in $$(grep -rl --include='*_test.go' 'func Fuzz' $(MODULES) | xargs -n1 dirname | sort -u); do \
		for f in $$(grep -ho 'func Fuzz[A-Za-z]*' $$d/*_test.go | sed 's/func //'); do \
			echo "fuzz: $$d $$f"; go test ./$$d -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) || exit 1; \
		done; \
	done

clean:
	rm -rf bin
