package jobs

// Filter picks jobs. The zero Filter picks all. One Filter feeds the list, its
// counts and its links, so that they cannot disagree.
type Filter struct {
	State State
	Kind  string
	Queue string
	// Text is looked for in id, kind, args, error, tags and unique key of the newest SearchWindow jobs.
	Text string
}

// SearchWindow is how many of the newest jobs a text search reads.
const SearchWindow = 100_000

// ListedBytesMax is how large args and output may be, each, to be in a list of
// jobs; larger ones are nil there, and whole in the job itself.
const ListedBytesMax = 4 << 10

// Count is a number of rows that stops at CountCap.
type Count int

// CountCap is where counting stops: the count then reads "10,000+".
const CountCap = 10_000

// Capped says that there are more than the number says.
func (c Count) Capped() bool { return c > CountCap }
