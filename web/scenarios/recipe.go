//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
)

// prelude stands for what a reader of a recipe has: the programs are built already, and what was
// started ends with the shell. They are told to more than once: a process that bash has just forked
// loses the signal if it comes before its exec.
const prelude = `set -eu
make() { :; }
go() { shift 2; exec bin/customers "$@"; }
end() {
  trap '' TERM
  for ((i = 0; $(jobs -rp | wc -l); i++)); do
    if ((i % 20 == 0)); then kill -TERM 0; fi
    sleep 0.25
  done
}
trap end EXIT
`

var shellBlock = regexp.MustCompile("(?s)```sh\n(.*?)```")

// recipe runs the commands of a page, as they are written there, and returns their output. Only the
// address of the application is another.
func (w *world) recipe(ctx context.Context, page string) (string, error) {
	w.log.Info("running the commands of a page", "page", page)
	script, err := w.commands(page)
	if err != nil {
		return "", err
	}
	return w.shell(ctx, script)
}

// commands returns the commands of all shell blocks of a page.
func (w *world) commands(page string) (string, error) {
	text, err := os.ReadFile(filepath.Join(w.programs.root, page))
	if err != nil {
		return "", fmt.Errorf("read the recipe: %w", err)
	}
	var script strings.Builder
	for _, block := range shellBlock.FindAllStringSubmatch(string(text), -1) {
		script.WriteString(block[1])
	}
	if script.Len() == 0 {
		return "", fmt.Errorf("%s has no commands", page)
	}
	return strings.ReplaceAll(script.String(), "127.0.0.1:3000", w.app), nil
}

// shell runs commands by bash in the folder of the world, and returns what they wrote to stdout.
func (w *world) shell(ctx context.Context, script string) (string, error) {
	cmd := exec.CommandContext(ctx, "bash", "-c", prelude+script)
	cmd.Env, cmd.Dir = w.env, w.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // kill 0 of the shell reaches what it has started, and nothing else
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	log, err := os.Create(filepath.Join(w.dir, "shell.log"))
	if err != nil {
		return "", fmt.Errorf("open the log of the shell: %w", err)
	}
	defer func() { _ = log.Close() }()
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, log
	if err := cmd.Run(); err != nil {
		said, _ := os.ReadFile(log.Name())
		return "", fmt.Errorf("run the commands: %w: %s%s", err, out.String(), said[max(0, len(said)-2000):])
	}
	if ctx.Err() != nil {
		return "", errors.New("run the commands: interrupted")
	}
	return out.String(), nil
}
