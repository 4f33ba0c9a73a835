package engine

// CrashPoint is a place between two steps where a process may die, and the
// engine's promise must hold.
type CrashPoint string

// The crash points of the engine. Applications have two more of their own: after
// the commit of what enqueued a job, and in a handler.
const (
	CrashRelayClaimed   CrashPoint = "relay-claimed"   // outbox rows are locked, nothing is sent
	CrashRelayPublished CrashPoint = "relay-published" // sent, and the broker has not confirmed
	CrashRelayConfirmed CrashPoint = "relay-confirmed" // confirmed, and the rows are still there
	CrashJobClaimed     CrashPoint = "job-claimed"     // running in the database, the handler has not started
	CrashJobWritten     CrashPoint = "job-written"     // the result is committed, the message not acknowledged
)
