package engine

// CrashPoint is a place between two steps where a process may die without breaking the engine's promise.
type CrashPoint string

// The crash points of the engine. Applications have two more of their own: after the commit of the
// transaction that enqueued a job, and in a handler.
const (
	CrashRelayClaimed   CrashPoint = "relay-claimed"   // outbox rows are locked, nothing is sent
	CrashRelayPublished CrashPoint = "relay-published" // sent, but not confirmed by the broker yet
	CrashRelayConfirmed CrashPoint = "relay-confirmed" // confirmed, but the rows are still there
	CrashJobClaimed     CrashPoint = "job-claimed"     // running in the database, but the handler has not started
	CrashJobWritten     CrashPoint = "job-written"     // the result is committed, but the message not acknowledged
)
