// Package schedule has the rules by which jobs are enqueued and events are published again and again.
package schedule

import (
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/warrenjobs/warren/jobs"
)

// Schedule enqueues a job or publishes an event at the times of its rule. Version increases by one
// with each change. The schedule of a task has no name, and is changed with its task only.
type Schedule struct {
	ID      uuid.UUID `json:"id"`
	Version int       `json:"version"`
	Origin  string    `json:"origin"` // web, api, cli, app, demo
	Input
	Task *Task `json:"task,omitempty"`

	// Anchor is what an interval is counted from: the last change of the rule.
	Anchor    time.Time `json:"anchor"`
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
	// NextAt is when it fires next; nil if it does not, or is paused.
	NextAt *time.Time `json:"next_at"`
	// Problem is why it cannot fire, although it was valid once. It is tried again every minute.
	Problem string `json:"problem,omitempty"`

	PausedAt     *time.Time `json:"paused_at"`
	PausedBy     string     `json:"paused_by,omitempty"`
	PausedReason string     `json:"paused_reason,omitempty"`

	Last *Firing `json:"last"` // the newest one
}

// Task is the task that a schedule belongs to.
type Task struct {
	ID          uuid.UUID `json:"id"`
	Description string    `json:"description"`
}

// Firing is one time at which a schedule fired, or had to and did not.
type Firing struct {
	PlannedAt time.Time `json:"planned_at"` // of one by hand: when it was asked for
	FiredAt   time.Time `json:"fired_at"`
	Outcome   Outcome   `json:"outcome"`
	By        string    `json:"by,omitempty"` // who ran it by hand
	// JobID is the job that was enqueued, or the open one because of which none was.
	JobID *uuid.UUID `json:"job_id,omitempty"`
	// JobState is its state now; "" if the job is no longer kept.
	JobState jobs.State `json:"job_state,omitempty"`
	EventID  *uuid.UUID `json:"event_id,omitempty"`
	// Missed counts further times, from MissedFrom to MissedTo, that were skipped; it stops at CatchUpMost + 1.
	Missed     int        `json:"missed"`
	MissedFrom *time.Time `json:"missed_from,omitempty"`
	MissedTo   *time.Time `json:"missed_to,omitempty"`
}

// Lag is how late the schedule fired.
func (f Firing) Lag() time.Duration { return max(f.FiredAt.Sub(f.PlannedAt), 0) }

// Outcome is what became of a firing.
type Outcome string

// The outcomes.
const (
	Enqueued  Outcome = "enqueued"
	Published Outcome = "published"
	StillOpen Outcome = "still open" // nothing was enqueued, because the last job was still open
	Paused    Outcome = "paused"     // the time passed while the schedule was paused
)

// Filter selects schedules.
type Filter struct {
	Text string // in the name, the description of the task, the kind or the routing key
}

// Check validates the filter. The error is FieldErrors.
func (f Filter) Check() error {
	if len(f.Text) > 500 || !jobs.PlainText(f.Text) {
		return jobs.FieldErrors{{Field: "q", Message: "must be plain text of at most 500 bytes"}}
	}
	return nil
}

// ConflictError reports that the schedule was changed after the caller read it.
type ConflictError struct{ Current Schedule }

func (e *ConflictError) Error() string {
	return fmt.Sprintf("The schedule has been changed since: it has version %d now.", e.Current.Version)
}
