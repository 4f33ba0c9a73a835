package rabbit

import (
	"strconv"
	"strings"
)

// quirk is a fault of some versions of RabbitMQ. It enables the workarounds that exist only for
// that fault; both are to be removed once those versions are no longer in use.
type quirk struct {
	fixed int // the first major version without the fault
}

// The quirks, with the date and version in which each was last seen.
var (
	// losesConsumers: a queue that is deleted and declared again at the same moment keeps the
	// consumers of the old queue, whose channels drop the messages that it sends them. The queue
	// then holds those messages for ever. Seen 2026-11 with 3.10.8; see stall.go.
	losesConsumers = quirk{fixed: 4}
	// keepsRefusing: a connection on which a full queue refused messages may be refused for ever,
	// even after the queue's limit was lifted by policy. Seen 2026-11 with 3.10.8; see
	// Publisher.replaces.
	keepsRefusing = quirk{fixed: 4}
	// leavesLeaderless: a quorum queue whose node dies at the moment of its declaration never
	// gets a leader. Seen 2026-11 with 3.10.8; see engine.LeaderlessQueues.
	leavesLeaderless = quirk{fixed: 4}
)

// has reports whether the broker that was last connected to has the fault. It returns true if the
// version is unknown.
func (b *Broker) has(q quirk) bool {
	version, _ := b.version.Load().(string)
	major, _, _ := strings.Cut(version, ".")
	n, err := strconv.Atoi(major)
	return err != nil || n < q.fixed
}
