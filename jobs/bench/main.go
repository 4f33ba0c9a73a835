// Package main compares Warren with its peers and with its theoretical limits. Every command starts
// its own servers and prints its result in the last line.
package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
)

// commands are the measurements, by name.
var commands = map[string]func(ctx context.Context, args []string) error{
	"engine":  runEngine,
	"growth":  runGrowth,
	"latency": runLatency,
	"pages":   runPages,
	"relay":   runRelay,
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		stop()
		os.Exit(1) //nolint:gocritic // stop has run
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) > 0 {
		if command := commands[args[0]]; command != nil {
			return command(ctx, args[1:])
		}
	}
	return fmt.Errorf("usage: bench COMMAND [-h], with COMMAND one of %s", strings.Join(slices.Sorted(maps.Keys(commands)), ", "))
}
