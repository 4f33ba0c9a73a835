package store

// The statements whose plans are tested.
const (
	DueSQL     = dueSQL
	WaitingSQL = waitingSQL
	LostOnes   = lostOnes
	SweepJobs  = sweepJobs
)
