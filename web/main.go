package web

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	_ "time/tzdata" // the zones of schedules, for machines and images that have none

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

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
		err := check(cmd, args)
		switch {
		case err == nil:
			return nil
		case cmd.HasAvailableSubCommands(): // cobra names the one that was probably meant
			return usageError{err}
		}
		return usageError{fmt.Errorf("%s given: %s", argsGiven(len(args)), cmd.UseLine())}
	}
}

func argsGiven(n int) string {
	switch n {
	case 0:
		return "no arguments"
	case 1:
		return "1 argument"
	}
	return fmt.Sprintf("%d arguments", n)
}

// flagError says what a flag takes instead of the error of the function that parses it.
func flagError(_ *cobra.Command, err error) error {
	var invalid *pflag.InvalidValueError
	if !errors.As(err, &invalid) {
		return usageError{err}
	}
	takes := map[string]string{"int": "a whole number", "duration": "a duration, such as 30s or 5m"}[invalid.GetFlag().Value.Type()]
	if takes == "" {
		return usageError{err}
	}
	return usageError{fmt.Errorf("--%s is %q: it must be %s", invalid.GetFlag().Name, invalid.GetValue(), takes)}
}

// withFlags names the flags of a command where an error names the fields of the API's object.
func withFlags(cmd *cobra.Command, err error) error {
	fields, ok := err.(jobs.FieldErrors) //nolint:errorlint // an error around them says what was attempted, and stays as it is
	if !ok {
		return err
	}
	named := slices.Clone(fields)
	for i, f := range named {
		name := strings.ReplaceAll(f.Field[strings.LastIndex(f.Field, ".")+1:], "_", "-")
		if cmd.Flags().Lookup(name) != nil {
			named[i].Field = "--" + name
		}
	}
	return named
}
