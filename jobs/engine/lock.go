package engine

// lock is a mutex that is held during calls to the database. It is a channel because a goroutine
// that waits for a sync.Mutex is not durably blocked to testing/synctest: the simulator's time
// would stand still.
type lock chan struct{}

func newLock() lock { return make(lock, 1) }

// Lock waits for the lock.
func (l lock) Lock() { l <- struct{}{} }

// TryLock takes the lock if it is free.
func (l lock) TryLock() bool {
	select {
	case l <- struct{}{}:
		return true
	default:
		return false
	}
}

// Unlock gives the lock up.
func (l lock) Unlock() { <-l }
