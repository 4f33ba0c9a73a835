package jobs

import "github.com/google/uuid"

// Filter selects jobs. The zero Filter selects all. The list, its counts and its links use
// the same Filter, so that they cannot disagree.
type Filter struct {
	State State
	Kind  string
	Queue string
	// Text is searched for in id, kind, args, error, tags and unique key of the newest SearchWindow jobs.
	Text string
	// Operation selects the jobs that one action on many has changed, or one purge cancelled, and that
	// were not retried since.
	Operation uuid.UUID
}

// SortedBy returns the field of a job by which the list of the filter is sorted, the one that its
// pages show: run_at, next due first; started_at, running longest first; finished_at, ended last
// first; id, newest first. Text is searched for from the newest job on, and the jobs of an operation are
// few, in every state.
func (f Filter) SortedBy() string {
	switch {
	case f.Text != "" || f.Operation != uuid.Nil:
		return "id"
	case f.State == Scheduled || f.State == Retrying:
		return "run_at"
	case f.State == Running:
		return "started_at"
	case f.State.Ended():
		return "finished_at"
	}
	return "id" // of queued jobs, too: another index would cost each enqueue, and waiting follows the id but for retries
}

// Words says which jobs the filter selects: "dead jobs of kind mail in queue default with “timeout”".
func (f Filter) Words() string {
	if f == (Filter{}) {
		return "all jobs"
	}
	words := "jobs"
	if f.State != "" {
		words = string(f.State) + " jobs"
	}
	if f.Kind != "" {
		words += " of kind " + f.Kind
	}
	if f.Queue != "" {
		words += " in queue " + f.Queue
	}
	if f.Text != "" {
		words += " with “" + f.Text + "”"
	}
	if f.Operation != uuid.Nil {
		words += " of operation " + f.Operation.String()
	}
	return words
}

// SearchWindow is the number of newest rows that a text search reads.
const SearchWindow = 100_000

// ListedBytesMax is the largest args and output, each, that a list of jobs includes; larger
// ones are nil in the list and complete in the job itself.
const ListedBytesMax = 4 << 10

// Count is a number of rows, counted up to a cap that is usually CountCap.
type Count int

// CountCap is where counting stops: a larger count is shown as "10,000+".
const CountCap = 10_000

// Capped reports whether c exceeds CountCap, so that the true number may be larger.
func (c Count) Capped() bool { return c > CountCap }
