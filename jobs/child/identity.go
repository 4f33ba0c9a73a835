package child

import "os"

// Identity names one process for good: a pid alone is used again by the
// system, a pid with its start time is not.
type Identity struct {
	Pid     int    `json:"pid"`
	Started string `json:"started"`
}

// Self is the identity of this process.
func Self() Identity { return Identify(os.Getpid()) }

// Identify returns the identity of a running process, or the zero Identity
// where there is none.
func Identify(pid int) Identity {
	started, ok := startTime(pid)
	if !ok {
		return Identity{}
	}
	return Identity{Pid: pid, Started: started}
}

// Alive says whether exactly this process still runs. A zombie does not.
func (id Identity) Alive() bool {
	return id.Pid > 0 && id == Identify(id.Pid)
}

// Signal sends a signal to the process if it is still the same one.
func (id Identity) Signal(signal os.Signal) {
	if !id.Alive() {
		return
	}
	if p, err := os.FindProcess(id.Pid); err == nil {
		_ = p.Signal(signal) // it may end at any time: nothing to report
	}
}
