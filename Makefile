SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help run dev build test test-cluster test-rabbitmq4 verify generate screenshots sim sim-mutants chaos scenarios bench-engine bench-latency bench-relay bench-growth bench-pages infra clean

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
BUILD    = go build -buildvcs=false -ldflags "-X github.com/warrenjobs/warren/web.Version=$(VERSION)"
# templ generates with the version that the code is built with.
TEMPL_AT = github.com/a-h/templ/cmd/templ@$(shell go list -m -f '{{.Version}}' github.com/a-h/templ)
TEMPL    = go run $(TEMPL_AT)
LINT     = go run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
COMPOSE  = docker compose -f .ci/compose.yaml

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## Start Warren on http://127.0.0.1:8080, with private servers unless DATABASE_URL and AMQP_URL are set
	@.ci/install servers
	@.ci/data
	@$(MAKE) --no-print-directory build
	@exec bin/warren

dev: ## The same at http://127.0.0.1:7331 (DEV_PORT), rebuilt and reloaded at every change of a .go or .templ file
	@.ci/install servers
	@.ci/data
	@$(MAKE) --no-print-directory build
	@GOBIN="$(CURDIR)/bin" go install $(TEMPL_AT)
	@exec bin/warren servers -- bin/templ generate --watch --proxy http://$$(.ci/address) --proxyport $${DEV_PORT:-7331} --open-browser=false --cmd .ci/reload

build: ## Write bin/warren
	@mkdir -p bin
	$(BUILD) -o bin/warren ./web/warren

test: ## Run all tests, with private servers and a real browser
	@.ci/install postgresql rabbitmq-server pgbouncer chromium-headless-shell gcc python3-pika curl
	@.ci/test

test-rabbitmq4: ## The same with RabbitMQ 4, from a Debian 13 that root makes once (or RABBITMQ4_ROOT)
	@.ci/test-rabbitmq4
test-cluster: ## Kill nodes of a RabbitMQ cluster, and the primary of a PostgreSQL with a standby (3 minutes)
	@.ci/install postgresql rabbitmq-server gcc
	@.ci/test -v -tags cluster -run 'JobsGoOn|FailingOver|Pair' ./jobs/engine ./store/local

verify: ## Check generated files, format, lint and modules
	@.ci/install npm
	@.ci/verify $(MAKE) --no-print-directory generate
	@test -z "$$(gofmt -l *.go web handlers views jobs store static examples | tee /dev/stderr)" || { echo 'These files are not formatted: gofmt -w' >&2; exit 1; }
	go vet ./...
	go mod tidy -diff
	$(LINT) run

generate: ## Write the generated files: templ's Go, css and js from npm, and the licences of what is used
	$(TEMPL) generate
	npm install --no-save --no-audit --no-fund
	npm run build
	.ci/licenses

screenshots: ## Draw the pictures in docs/img anew, from a warren with a demo in it (6 minutes)
	@.ci/install postgresql rabbitmq-server chromium-headless-shell
	go test -tags screenshots -count 1 -timeout 10m -run TestScreenshots ./web/warren

scenarios: ## Do the work of known systems with Warren while processes are killed, and count (12 minutes; SCENARIO picks some by number)
	@.ci/install postgresql rabbitmq-server python3-pika curl
	@go build -buildvcs=false -o bin/scenarios ./web/scenarios
	@bin/scenarios $(SCENARIO)

bench-engine: ## Measure Warren and River, whole engines; flags of `bench engine -h` in ARGS (10 minutes)
	@.ci/install postgresql rabbitmq-server
	@go -C jobs/bench run . engine $(ARGS)

bench-latency: ## Measure from commit to the start of the handler, compared with River and the floor (6 minutes)
	@.ci/install postgresql rabbitmq-server
	@go -C jobs/bench run . latency $(ARGS)

bench-relay: ## Measure the relay, compared with a plain publisher, the outbox example and Watermill's forwarder (3 minutes)
	@.ci/install postgresql rabbitmq-server
	@go -C jobs/bench run . relay $(ARGS)

bench-growth: ## Measure a job's cost with up to 10 million finished ones, and under a held transaction (30 minutes, 15 GB)
	@.ci/install postgresql rabbitmq-server
	@go -C jobs/bench run . growth $(ARGS)

bench-pages: ## Measure how fast each page is with 10 thousand and with 3 million jobs (5 minutes, 4 GB)
	@.ci/install postgresql rabbitmq-server
	@go -C jobs/bench run . pages $(ARGS)

sim: ## Run the engine under drawn schedules for SIM_SECONDS (600), in a clock of its own; prints which rules were met
	@.ci/install postgresql rabbitmq-server gcc
	@SIM_SECONDS=$${SIM_SECONDS:-600} .ci/test -v -count 1 ./jobs/sim -rapid.shrinktime=2m

sim-mutants: ## Put known mistakes back into the engine, one after the other, and have the simulator find each (60 minutes; MUTANT picks some)
	@.ci/install postgresql rabbitmq-server gcc
	@SIM_SECONDS=$${SIM_SECONDS:-300} .ci/test -v -count 1 -tags mutants -timeout 4h -run FindsEachMutant ./jobs/sim

chaos: ## Break a whole deployment for CHAOS_MINUTES (5) and balance the books; CHAOS_SEED repeats a run
	@.ci/install postgresql rabbitmq-server
	@go build -buildvcs=false -tags chaos -o bin/chaos ./web/chaos
	@bin/chaos

infra: ## Start PostgreSQL and RabbitMQ in Docker instead, on loopback
	$(COMPOSE) up --detach --wait
	@printf '%s\n' 'export DATABASE_URL=postgres://warren:warren@127.0.0.1:5432/warren' 'export AMQP_URL=amqp://warren:warren@127.0.0.1:5672/'

clean: ## Remove bin/ and what infra started, with its data
	rm -rf bin
	@! docker compose version >/dev/null 2>&1 || $(COMPOSE) down --volumes
