package engine

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/warrenjobs/warren/jobs"
)

// ProcessState is what a warren process is doing.
type ProcessState string

// The states of a process. ProcessIsGone is never stored: a process is gone once its last heartbeat
// is older than ProcessGone, unless it has stopped.
const (
	ProcessRunning  ProcessState = "running"
	ProcessQuiet    ProcessState = "quiet" // its worker takes no new jobs
	ProcessStopping ProcessState = "stopping"
	ProcessStopped  ProcessState = "stopped" // it has ended in good order
	ProcessIsGone   ProcessState = "gone"
)

// ProcessCommand is what an operator asks of a process.
type ProcessCommand string

// The commands.
const (
	CommandQuiet  ProcessCommand = "quiet"  // take no new jobs, finish what runs
	CommandResume ProcessCommand = "resume" // undoes quiet
	CommandStop   ProcessCommand = "stop"   // as SIGTERM does
)

// Timing of heartbeats.
const (
	ProcessHeartbeat = 2 * time.Second
	ProcessSilent    = 5 * time.Second  // without a heartbeat; pages then tell how old the last one is
	ProcessGone      = 15 * time.Second // without a heartbeat; as long as a lease lives
	ProcessKeep      = 5 * time.Minute  // after the last heartbeat, so that people can see which processes are gone
)

// ProcessRoles are the roles of processes.
var ProcessRoles = []string{"web", "relay", "worker", "scheduler", "monitor"}

// ParseProcessRole parses the name of a role, or "" for all. Any other name is a jobs.FieldErrors.
func ParseProcessRole(s string) (string, error) {
	if s == "" || slices.Contains(ProcessRoles, s) {
		return s, nil
	}
	return "", jobs.FieldErrors{{Field: "role", Message: fmt.Sprintf("%.40q is not a valid role: it is one of %s, or nothing for all", s,
		strings.Join(ProcessRoles, ", "))}}
}

// ProcessFilter selects processes. The zero ProcessFilter selects all.
type ProcessFilter struct {
	Role  string
	Alive bool // leave out those that are gone or have stopped
}

// Process is one warren process as of its last heartbeat.
type Process struct {
	ID        uuid.UUID       `json:"id"`
	Name      string          `json:"name"` // host/pid unless it was given one
	Host      string          `json:"host"`
	PID       int             `json:"pid"`
	Roles     []string        `json:"roles"`
	Version   string          `json:"version"`
	State     ProcessState    `json:"state"`
	Command   *ProcessCommand `json:"wants"` // requested and not done yet
	StartedAt time.Time       `json:"started_at"`
	SeenAt    time.Time       `json:"seen_at"`
	Details   ProcessDetails  `json:"details"`
	Worker    *ProcessWorker  `json:"worker"` // nil without that role, or while it has no lease
}

// ProcessDetails holds what only some roles report.
type ProcessDetails struct {
	Listen  string      `json:"listen,omitempty"`          // address of the dashboard, for the role web
	Private bool        `json:"private_servers,omitempty"` // it runs the private PostgreSQL and RabbitMQ
	Relay   *RelayStats `json:"relay"`
	Kinds   []string    `json:"kinds,omitempty"` // kinds that it has handlers for
	// Queues are those that its worker consumes, also once its lease is gone.
	Queues []string `json:"queues,omitempty"`
	// Ended counts the runs of its worker that ended in the last minute.
	Ended *int64 `json:"ended_last_minute,omitempty"`
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
	Load        *ProcessLoad `json:"load"`    // nil if it is not known
}

// LoadWindow is how far back a ProcessLoad reaches at most.
const LoadWindow = 10 * time.Minute

// ProcessLoad is what a worker did lately.
type ProcessLoad struct {
	// Since is LoadWindow ago or, if that is later, when the process started, or as far back as its runs could be counted.
	Since time.Time `json:"since"`
	// Runs counts the runs that have ended since then, whatever came of them.
	Runs int64 `json:"runs"`
	// BusyShare is the share of the time of all its slots in which they ran a job: 0 to 1.
	BusyShare float64 `json:"busy_share"`
	// IdleSince is when its last run ended. It is nil while it runs a job, and if that was before Since.
	IdleSince *time.Time `json:"idle_since"`
}

// ProcessRunsMax is how many runs are listed per process.
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

// HasRole reports whether the process has the role.
func (p Process) HasRole(role string) bool { return slices.Contains(p.Roles, role) }

// Alive reports whether the process was heard of recently and has not stopped.
func (p Process) Alive() bool { return p.State != ProcessIsGone && p.State != ProcessStopped }

// Silent reports whether the process, which counts as alive, has not been heard of for longer than its heartbeats take.
func (p Process) Silent(now time.Time) bool { return now.Sub(p.SeenAt) > ProcessSilent }

// EndedPerSecond returns the rate at which runs of its worker ended in the last minute, or since it
// started; known is false if it has not reported that.
func (p Process) EndedPerSecond() (rate float64, known bool) {
	if p.Details.Ended == nil {
		return 0, false
	}
	return float64(*p.Details.Ended) / min(max(p.SeenAt.Sub(p.StartedAt).Seconds(), 1), 60), true
}

// Refuses explains in a sentence why the command makes no sense for the process now; "" means that it does.
func (p Process) Refuses(w ProcessCommand) string {
	stop := p.State == ProcessStopping || p.Command != nil && *p.Command == CommandStop
	quiet := p.State == ProcessQuiet
	if p.Command != nil { // the state that it will have in a moment
		quiet = *p.Command == CommandQuiet
	}
	switch {
	case p.State == ProcessIsGone:
		return "This process is gone: it has not been heard of for a while."
	case p.State == ProcessStopped:
		return "This process has stopped."
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
	Silent    int // of the processes; their slots are not counted
	Workers   int
	Quiet     int
	Slots     int // of the workers that are not quiet
	Busy      int
	Versions  []string
	At        time.Time // by the database's clock
}

// UnknownKind is a kind whose jobs wait in a queue because no worker there has a handler for it.
type UnknownKind struct {
	Kind   string    `json:"kind"`
	Queue  string    `json:"queue"`
	Worker string    `json:"worker"` // the worker that gave a job back last
	Since  time.Time `json:"since"`
}
