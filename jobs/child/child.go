// Package child runs server processes that end when this process ends, even if it is killed
// with SIGKILL, and keeps what they need in folders in which a server's user cannot trick root.
//
// On Linux the kernel signals a child when the thread that started it exits, so all children
// are started from one thread that lives as long as the process. On other systems a child
// outlives a SIGKILL of this process; the next owner of its data directory finds and stops it.
package child

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
)

// Spec describes the program to run and the signals that end it.
type Spec struct {
	Path string   // the program, absolute or found on PATH
	Args []string // without the program's name
	Env  []string // the whole environment; nil means this process's own
	Dir  string   // working directory
	Log  string   // file that stdout and stderr are appended to; in a folder that only this process's user can write
	User *User    // run as this user (requires root); nil means this process's own

	Input string // for its stdin, which is a pipe: at most maxInput bytes; "" means no stdin

	Stop  syscall.Signal // requests a clean shutdown; 0 means SIGTERM
	Death syscall.Signal // sent by the kernel when this process dies; 0 means SIGKILL
}

// maxInput is what a pipe takes without a reader on every system.
const maxInput = 4 << 10

// Process is a started child.
type Process struct {
	cmd  *exec.Cmd
	stop syscall.Signal
	log  logFile
	done chan struct{}
	err  error // set before done is closed
}

// Start starts the program and returns without waiting for it to be ready. The child has its
// own process group, so that Ctrl-C in a terminal reaches only this process.
func Start(spec Spec) (*Process, error) {
	log, err := openLog(spec.Log)
	if err != nil {
		return nil, err
	}
	defer log.file.Close()

	cmd := exec.Command(spec.Path, spec.Args...)
	cmd.Env, cmd.Dir = spec.Env, spec.Dir
	cmd.Stdout, cmd.Stderr = log.file, log.file
	cmd.SysProcAttr = attributes(spec)
	if spec.Input != "" {
		input, err := pipe(spec.Input, spec.User)
		if err != nil {
			return nil, fmt.Errorf("start %s: write its input: %w", spec.Path, err)
		}
		defer input.Close()
		cmd.Stdin = input
	}
	if err := onSpawner(cmd.Start); err != nil {
		return nil, fmt.Errorf("start %s: %w", spec.Path, err)
	}

	p := &Process{cmd: cmd, stop: orSignal(spec.Stop, syscall.SIGTERM), log: log, done: make(chan struct{})}
	go func() {
		p.err = cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// pipe returns a pipe that has the text in it and that the user, too, may open by the name /dev/stdin.
func pipe(text string, user *User) (*os.File, error) {
	if len(text) > maxInput {
		return nil, fmt.Errorf("%d bytes are too many", len(text))
	}
	reader, writer, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	_, err = writer.WriteString(text)
	err = errors.Join(err, writer.Close())
	if user != nil && runtime.GOOS == "linux" { // elsewhere /dev/stdin needs no right to the pipe
		err = errors.Join(err, reader.Chown(int(user.UID), int(user.GID)))
	}
	if err != nil {
		_ = reader.Close()
		return nil, err
	}
	return reader, nil
}

// Pid returns the process id, even after the child has ended.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Done returns a channel that is closed when the child has ended and has been reaped.
func (p *Process) Done() <-chan struct{} { return p.done }

// Err returns how the child ended; it is nil for exit status 0 and while the child runs.
func (p *Process) Err() error {
	select {
	case <-p.done:
		return p.err
	default:
		return nil
	}
}

// Ended returns an error that describes how the child ended, with the reason found in its log:
// `postgres ended (exit status 1): FATAL: …`.
func (p *Process) Ended() error {
	how := "exit status 0"
	if err := p.Err(); err != nil {
		how = err.Error()
	}
	return fmt.Errorf("%s ended (%s): %s", filepath.Base(p.cmd.Path), how, p.log.reason())
}

// Tail returns the last lines, at most n, that the child has written since its start.
func (p *Process) Tail(n int) []string { return p.log.tail(n) }

// Stop sends the stop signal and waits for the child to end. If ctx ends first, it kills the
// child's process group, waits for that, and returns an error. It may be called repeatedly, and
// returns nil at once if the child has already ended.
func (p *Process) Stop(ctx context.Context) error {
	if err := p.cmd.Process.Signal(p.stop); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop %s: %w", p.cmd.Path, err)
	}
	select {
	case <-p.done:
		return nil
	case <-ctx.Done():
	}
	killGroup(p.cmd.Process)
	<-p.done
	return fmt.Errorf("stop %s: killed it: %w", p.cmd.Path, context.Cause(ctx))
}

// Kill sends SIGKILL to the child's process group, as in a power failure, and waits for the
// child to end. It is idempotent.
func (p *Process) Kill() {
	select {
	case <-p.done: // the pid may belong to another process by now
		return
	default:
	}
	killGroup(p.cmd.Process)
	<-p.done
}

// Run starts the program and waits for it to end. If ctx ends first, the program's process
// group is killed.
func Run(ctx context.Context, spec Spec) error {
	p, err := Start(spec)
	if err != nil {
		return err
	}
	select {
	case <-p.done:
	case <-ctx.Done():
		killGroup(p.cmd.Process)
		<-p.done
		return fmt.Errorf("run %s: %w", spec.Path, context.Cause(ctx))
	}
	if p.err != nil {
		return p.Ended()
	}
	return nil
}

// spawner sends functions to the single thread that starts all children.
var spawner = sync.OnceValue(func() chan<- func() {
	work := make(chan func())
	go func() {
		runtime.LockOSThread() // never unlocked: the thread must outlive every child
		for f := range work {
			f()
		}
	}()
	return work
})

func onSpawner(start func() error) error {
	result := make(chan error, 1)
	spawner() <- func() { result <- start() }
	return <-result
}

func orSignal(s, otherwise syscall.Signal) syscall.Signal {
	if s == 0 {
		return otherwise
	}
	return s
}
