package child

import "os"

// Identity identifies one process permanently: the system reuses a pid, but not a pid together
// with its start time.
type Identity struct {
	Pid     int    `json:"pid"`
	Started string `json:"started"`
}

// Self returns the identity of this process.
func Self() Identity { return Identify(os.Getpid()) }

// Identify returns the identity of a running process, or the zero Identity if no process has
// that pid.
func Identify(pid int) Identity {
	started, ok := startTime(pid)
	if !ok {
		return Identity{}
	}
	return Identity{Pid: pid, Started: started}
}

// Alive reports whether exactly this process is still running. A zombie is not.
func (id Identity) Alive() bool {
	return id.Pid > 0 && id == Identify(id.Pid)
}

// Signal sends a signal to the process if it is still running. It is never sent to another process.
func (id Identity) Signal(signal os.Signal) {
	if !id.Alive() {
		return
	}
	if p, err := os.FindProcess(id.Pid); err == nil {
		_ = p.Signal(signal) // it may end at any time: nothing to report
	}
}
