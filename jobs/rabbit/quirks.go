package rabbit

import (
	"strconv"
	"strings"
)

// quirk is a fault of some versions of RabbitMQ, and switches what Warren does for it
// alone. One whose versions nobody runs any more goes, with all that asks for it.
type quirk struct {
	fixed int // the first major version without it
}

// The quirks, with where they were seen last.
var (
	// losesConsumers: a queue that is deleted and declared again in the same moment goes
	// on with the consumers of the old one, and the channels drop what it sends them. So
	// it holds messages for them for ever. Seen 2026-11 with 3.10.8; see stall.go.
	losesConsumers = quirk{fixed: 4}
	// keepsRefusing: a connection on which a full queue refused messages may be refused
	// for good, when the queue's limit was lifted by policy. Seen 2026-11 with 3.10.8; see
	// Publisher.replaces.
	keepsRefusing = quirk{fixed: 4}
	// leavesLeaderless: of a quorum queue whose node dies in the moment in which it is
	// declared nobody becomes the leader. Seen 2026-11 with 3.10.8; see engine.LeaderlessQueues.
	leavesLeaderless = quirk{fixed: 4}
)

// has says whether the broker has the fault: the one that was connected to last, and
// also one whose version nobody knows.
func (b *Broker) has(q quirk) bool {
	version, _ := b.version.Load().(string)
	major, _, _ := strings.Cut(version, ".")
	n, err := strconv.Atoi(major)
	return err != nil || n < q.fixed
}
