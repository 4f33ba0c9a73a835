package engine

import (
	"time"

	"github.com/google/uuid"

	"github.com/warrenjobs/warren/jobs"
)

// ProcessState says what a warren process does.
type ProcessState string

// The states of a process. Gone is not written by anybody: it is what a process
// is called that has not spoken for ProcessGone.
const (
	ProcessRunning  ProcessState = "running"
	ProcessQuiet    ProcessState = "quiet" // its worker takes no new jobs
	ProcessStopping ProcessState = "stopping"
	ProcessIsGone   ProcessState = "gone"
)

// ProcessCommand is what an operator asks of a process.
type ProcessCommand string

// The wishes.
const (
	CommandQuiet  ProcessCommand = "quiet"  // take no new jobs, finish what runs
	CommandResume ProcessCommand = "resume" // undoes quiet
	CommandStop   ProcessCommand = "stop"   // as SIGTERM does
)

// Numbers of processes.
const (
	ProcessHeartbeat = 2 * time.Second
	ProcessGone      = 15 * time.Second // without a beat; as long as a lease lives
	ProcessKeep      = 5 * time.Minute  // after the last beat: somebody may want to see who is gone
)

// Process is one running warren as it last said itself.
type Process struct {
	ID        uuid.UUID       `json:"id"`
	Name      string          `json:"name"` // host/pid
	Host      string          `json:"host"`
	PID       int             `json:"pid"`
	Roles     []string        `json:"roles"`
	Version   string          `json:"version"`
	State     ProcessState    `json:"state"`
	Command   *ProcessCommand `json:"wants"` // asked for and not done yet
	StartedAt time.Time       `json:"started_at"`
	SeenAt    time.Time       `json:"seen_at"`
	Details   ProcessDetails  `json:"details"`
	Worker    *ProcessWorker  `json:"worker"` // nil without that role, or while it has no lease
}

// ProcessDetails are what only some roles have to tell.
type ProcessDetails struct {
	Listen  string      `json:"listen,omitempty"`          // address of the dashboard, for the role web
	Private bool        `json:"private_servers,omitempty"` // it runs the private PostgreSQL and RabbitMQ
	Relay   *RelayStats `json:"relay,omitempty"`
	Kinds   []string    `json:"kinds,omitempty"` // that it has handlers for
}

// ProcessWorker is the worker in a process: its lease and what it runs.
type ProcessWorker struct {
	Queues      []string     `json:"queues"`
	Concurrency int          `json:"concurrency"`
	Prefetch    int          `json:"prefetch"`
	RenewedAt   time.Time    `json:"renewed_at"`
	ExpiresAt   time.Time    `json:"expires_at"`
	Busy        int          `json:"busy"`
	Running     []ProcessRun `json:"running"` // oldest first, at most ProcessRunsMax
}

// ProcessRunsMax is how many jobs are listed of one process.
const ProcessRunsMax = 25

// ProcessRun is a job that a process runs now.
type ProcessRun struct {
	JobID       uuid.UUID      `json:"job_id"`
	Kind        string         `json:"kind"`
	Queue       string         `json:"queue"`
	Attempt     int            `json:"attempt"`
	MaxAttempts int            `json:"max_attempts"`
	Lease       int            `json:"lease"`
	StartedAt   time.Time      `json:"started_at"`
	Progress    *jobs.Progress `json:"progress"`
}

// HasRole says whether the process has the role.
func (p Process) HasRole(role string) bool {
	for _, r := range p.Roles {
		if r == role {
			return true
		}
	}
	return false
}

// Refuses says why a wish makes no sense for the process now, in a sentence; "" if it does.
func (p Process) Refuses(w ProcessCommand) string {
	stop := p.State == ProcessStopping || p.Command != nil && *p.Command == CommandStop
	quiet := p.State == ProcessQuiet
	if p.Command != nil { // what it will be in a moment
		quiet = *p.Command == CommandQuiet
	}
	switch {
	case p.State == ProcessIsGone:
		return "This process is gone: it has not been heard of for a while."
	case stop:
		return "This process is stopping already."
	case w == CommandStop:
		return ""
	case !p.HasRole("worker"):
		return "Only a worker takes jobs."
	case w == CommandQuiet && quiet:
		return "This worker is quiet already."
	case w == CommandResume && !quiet:
		return "This worker takes jobs already."
	}
	return ""
}

// ProcessTotals sums up all processes that are alive.
type ProcessTotals struct {
	Processes int
	Workers   int
	Quiet     int
	Gone      int
	Slots     int // of the workers that are not quiet
	Busy      int
	Versions  []string
}

// UnknownKind says of which kind the jobs of a queue wait for a worker that has its handler.
type UnknownKind struct {
	Kind   string    `json:"kind"`
	Queue  string    `json:"queue"`
	Worker string    `json:"worker"` // that gave one back last
	Since  time.Time `json:"since"`
}
