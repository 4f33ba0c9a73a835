//go:build !unix

package child

import (
	"os"
	"syscall"
)

// Neither process groups nor a parent-death signal: the child is a plain one.
func attributes(Spec) *syscall.SysProcAttr { return nil }

func killGroup(p *os.Process) { _ = p.Kill() }
