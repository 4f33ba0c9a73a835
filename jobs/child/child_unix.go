//go:build unix && !linux

package child

import (
	"os"
	"syscall"
)

// There is no parent-death signal here and no watchdog yet: after a SIGKILL of this process the
// child keeps running until the next owner of its data stops it.
func attributes(spec Spec) *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Setpgid: true}
	if spec.User != nil {
		attr.Credential = &syscall.Credential{Uid: spec.User.UID, Gid: spec.User.GID}
	}
	return attr
}

func killGroup(p *os.Process) {
	_ = syscall.Kill(-p.Pid, syscall.SIGKILL)
}
