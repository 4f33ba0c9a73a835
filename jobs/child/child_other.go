//go:build !unix

package child

import (
	"os"
	"syscall"
)

// attributes returns nil: there are neither process groups nor a parent-death signal here.
func attributes(Spec) *syscall.SysProcAttr { return nil }

func killGroup(p *os.Process) { _ = p.Kill() }
