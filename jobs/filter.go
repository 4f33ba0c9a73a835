package jobs

// Filter selects jobs. The zero Filter selects all. The list, its counts and its links use
// the same Filter, so that they cannot disagree.
type Filter struct {
	State State
	Kind  string
	Queue string
	// Text is searched for in id, kind, args, error, tags and unique key of the newest SearchWindow jobs.
	Text string
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
