package web

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	_ "time/tzdata" // the zones of schedules, for machines and images that have none

	"github.com/spf13/cobra"

	"github.com/warrenjobs/warren/jobs"
)

// Exit codes of client commands.
const (
	exitRefused = 1
	exitUsage   = 2
)

// Main is a whole program: every warren command, with these kinds beside the built-in ones.
// Environment, .env and flags configure it. It runs until its command has ended, which SIGINT and
// SIGTERM request, and exits: 0 if all went well, 1 if not, 2 on wrong usage.
func Main(own ...*jobs.Kind) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := runCommand(ctx, os.Args[1:], own)
	stop()
	os.Exit(code)
}

// usageError is an error in the arguments of a command.
type usageError struct{ error }

func runCommand(ctx context.Context, args []string, own []*jobs.Kind) int {
	root := newCommand(own)
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	var usage usageError
	var exit exitCode
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return int(exit)
	case errors.As(err, &usage):
		_, _ = fmt.Fprintf(terminal{os.Stderr}, "warren: %v\nSee: %s --help\n", err, cmd.CommandPath())
		return exitUsage
	}
	_, _ = fmt.Fprintf(terminal{os.Stderr}, "warren: %v\n", err)
	return exitRefused
}

// exitCode ends the command with that code and prints nothing more.
type exitCode int

func (e exitCode) Error() string { return fmt.Sprintf("exit %d", int(e)) }

// usageArgs makes a wrong number of arguments a usage error.
func usageArgs(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return usageError{err}
		}
		return nil
	}
}
