package monitor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/jobs/rabbit/management"
)

// Broker is the management API. Each call blocks up to its own hard timeout.
type Broker interface {
	Overview(ctx context.Context) (management.Overview, error)
	Whoami(ctx context.Context) (management.Account, error)
	Queues(ctx context.Context) ([]management.Queue, error)
	Channels(ctx context.Context, vhost string) ([]management.Channel, error)
	Consumers(ctx context.Context, vhost string) ([]management.Consumer, error)
	Connections(ctx context.Context) ([]management.Connection, error)
	// Look returns an error if the account may not access the vhost, which lists omit silently.
	Look(ctx context.Context, vhost string) error
}

// Store saves the results of polls.
type Store interface {
	// LastPoll returns the queues as last saved, and when the broker last answered, nil if never.
	LastPoll(ctx context.Context) ([]Queue, *time.Time, error)
	SaveBroker(ctx context.Context, s Snapshot) error
	// SaveHealth reports whether anything but times has changed.
	SaveHealth(ctx context.Context, component string, ok bool, message string, details any) (changed bool, err error)
	ThinSamples(ctx context.Context, now time.Time) error
}

// Component is the name of the broker's health record.
const Component = "broker"

// Details are the details in the broker's health record.
type Details struct {
	Version string `json:"version"`
	Cluster string `json:"cluster"`
	// Management reports whether the management API answered the last request.
	Management bool `json:"management"`
}

// Intervals and limits of the monitor. RabbitMQ's own statistics are updated every 5 s.
const (
	IntervalDefault = 5 * time.Second
	overviewEvery   = 30 * time.Second
	thinEvery       = time.Minute
	backoffMax      = 30 * time.Second
	awayInterval    = 2 * time.Second
	saveTimeout     = 10 * time.Second
	namedMax        = 20 // queues named in an announcement; with more, none is named
)

// Monitor polls the broker. Only one runs at a time in a deployment: see store.Lead.
type Monitor struct {
	Broker Broker // nil: there is no management API, and only Reach is called
	Store  Store
	// Reach connects to the broker itself, or returns why it cannot. It distinguishes a broker
	// that is down from one whose management API does not answer. It may be nil if Broker is not.
	Reach    func(ctx context.Context) error
	Announce engine.Announce // may be nil
	Log      *slog.Logger
	// Prefix is the name prefix of the deployment's own queues, whose sum has a history too.
	Prefix   string
	VHost    string           // of the deployment's own queues; its access rights are not checked if ""
	Interval time.Duration    // between polls; 0 means 5 s
	Now      func() time.Time // nil means time.Now

	memory
}

// memory is what a leader keeps from its earlier polls.
type memory struct {
	loaded   bool
	lastPoll *time.Time // when the broker last answered this or an earlier leader
	queues   map[key]Queue
	tracks   map[key]track
	channels map[string][]Channel // by vhost
	holds    map[string]map[string]hold
	clients  map[string]string // client names by connection

	details    Details
	warning    string // of the last overview: what the account or the broker does not let us see
	overviewAt time.Time
	thinnedAt  time.Time
	failures   int
	away       bool   // the broker itself could not be reached
	problem    string // as last logged
}

// Run polls until ctx ends, then returns nil. While the broker or the database is unavailable, it
// keeps trying. It may be called again after it has returned.
func (m *Monitor) Run(ctx context.Context) error {
	m.memory = memory{}
	for {
		m.report(ctx, m.runOnce(ctx))
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(m.pause()):
		}
	}
}

// pause returns the time until the next poll: the interval, doubled with each failure from the
// second in a row. A broker that cannot be reached is not spared but asked more often.
func (m *Monitor) pause() time.Duration {
	interval := m.Interval
	if interval <= 0 {
		interval = IntervalDefault
	}
	if m.away {
		return min(interval, awayInterval)
	}
	if m.failures < 2 {
		return interval
	}
	return max(interval, min(interval<<min(m.failures-1, 10), backoffMax))
}

func (m *Monitor) now() time.Time {
	now := time.Now
	if m.Now != nil {
		now = m.Now
	}
	return now().UTC().Truncate(time.Microsecond) // the database's precision
}

// report logs a problem when it begins, changes or ends.
func (m *Monitor) report(ctx context.Context, err error) {
	problem := ""
	if err != nil {
		problem = err.Error()
	}
	if problem == m.problem || ctx.Err() != nil || m.Log == nil {
		return
	}
	m.problem = problem
	if problem != "" {
		m.Log.Warn("monitor: cannot watch the broker", "error", problem)
	} else {
		m.Log.Info("monitor: watches the broker")
	}
}

// runOnce polls the broker once and saves the result. The error is the broker's or the store's;
// older results are kept, with their age.
func (m *Monitor) runOnce(ctx context.Context) error {
	if err := m.load(ctx); err != nil {
		return err
	}
	if m.Broker == nil {
		return m.runWithout(ctx)
	}
	poll, err := m.ask(ctx)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		m.failures++
		m.overviewAt = time.Time{} // the broker may come back with another version
		return errors.Join(err, m.unwatched(ctx, sentence(err)))
	}
	m.failures, m.away = 0, false
	if err := m.save(ctx, poll); err != nil {
		return err
	}
	if err := m.health(ctx, ""); err != nil {
		return err
	}
	return m.thin(ctx)
}

// runWithout is runOnce without a management API: it records only whether the broker can be reached.
func (m *Monitor) runWithout(ctx context.Context) error {
	err := m.unwatched(ctx, "There is no management API (RABBITMQ_MANAGEMENT_URL is none): jobs run, but queue figures cannot be shown.")
	return errors.Join(err, m.thin(ctx))
}

// unwatched records why queue figures are unavailable, and whether the broker itself can be reached.
func (m *Monitor) unwatched(ctx context.Context, why string) error {
	if m.Reach == nil {
		return m.health(ctx, why)
	}
	err := m.Reach(ctx)
	if m.away = err != nil; m.away {
		m.failures = 0
		return errors.Join(err, m.health(ctx, upper(err.Error())+"."))
	}
	m.details.Management = false
	return m.saveHealth(ctx, true, why)
}

// upper returns s with its first letter in upper case.
func upper(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

func (m *Monitor) load(ctx context.Context) error {
	if m.loaded {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, saveTimeout)
	defer cancel()
	queues, at, err := m.Store.LastPoll(ctx)
	if err != nil {
		return err
	}
	m.memory = memory{loaded: true, lastPoll: at, queues: map[key]Queue{}, tracks: map[key]track{}, problem: m.problem,
		channels: map[string][]Channel{}, holds: map[string]map[string]hold{}, clients: map[string]string{}}
	for _, q := range queues {
		m.queues[q.key()] = q
		m.tracks[q.key()] = track{{at: q.SampledAt, n: q.Counters}}
	}
	return nil
}

// poll is a snapshot and the queues that changed with it.
type poll struct {
	Snapshot
	changed []string // names of queues
}

func (m *Monitor) ask(ctx context.Context) (poll, error) {
	at := m.now()
	slow := at.Sub(m.overviewAt) >= overviewEvery
	if slow {
		if err := m.overview(ctx); err != nil {
			return poll{}, err
		}
		m.overviewAt = at
	}
	said, err := m.Broker.Queues(ctx)
	if err != nil {
		return poll{}, err
	}
	p := poll{Snapshot: Snapshot{At: at}}
	seen := map[key]bool{}
	for _, s := range said {
		k := key{s.VHost, s.Name}
		if seen[k] { // the broker itself writes two names with different raw bytes alike
			continue
		}
		seen[k] = true
		p.Queues = append(p.Queues, m.see(s, at))
	}
	p.changed = m.changes(p.Queues)
	p.Total = total(at, m.own(p.Queues))
	p.ChannelsOf = m.askable(p.Queues, slow)
	problem := m.askChannels(ctx, &p)
	if problem != nil && m.warning == "" {
		m.warning = "The broker does not tell which channel holds what: " + sentence(problem)
	}
	return p, nil
}

// overview reads the broker's version and cluster name, and what this account is not allowed to see.
func (m *Monitor) overview(ctx context.Context) error {
	o, err := m.Broker.Overview(ctx)
	if err != nil {
		return err
	}
	m.details.Version, m.details.Cluster = o.Version, o.Cluster
	m.clients = map[string]string{} // read again when needed
	m.warning = ""
	switch account, err := m.Broker.Whoami(ctx); {
	case err != nil:
		return err
	case o.StatsDisabled || o.RatesMode == "none":
		m.warning = "The broker's statistics are switched off (management_agent.disable_metrics_collector or rates_mode none): rates " +
			"and redeliveries are unknown."
	case !account.SeesAll():
		m.warning = fmt.Sprintf("The broker account %s sees only its own channels. To see all: rabbitmqctl set_user_tags %s monitoring",
			account.Name, account.Name)
	}
	return m.look(ctx)
}

// look checks whether the account may see our queues at all.
func (m *Monitor) look(ctx context.Context) error {
	if m.VHost == "" {
		return nil
	}
	err := m.Broker.Look(ctx, m.VHost)
	var refused *management.Error
	if !errors.As(err, &refused) {
		return err
	}
	if refused.LacksRight() {
		m.warning = refused.Error()
	}
	return nil // a missing vhost is reported by the processes that connect to it
}

// see returns the queue from the broker's answer, with its rates over the last polls.
func (m *Monitor) see(said management.Queue, at time.Time) Queue {
	k := key{said.VHost, said.Name}
	var before *Queue
	if q, known := m.queues[k]; known {
		before = &q
	}
	q := observe(said, before, m.lastPoll, at)
	if silent(said) {
		return q // nothing new, and no rate
	}
	m.tracks[k] = m.tracks[k].add(point{at: at, n: said.Counters})
	q.Rates = m.tracks[k].rates()
	return q
}

// changes returns the names of the queues that changed, appeared or disappeared.
func (m *Monitor) changes(queues []Queue) []string {
	var names []string
	there := map[key]bool{}
	for _, q := range queues {
		there[q.key()] = true
		if before, known := m.queues[q.key()]; !known || !q.same(before) {
			names = append(names, q.Name)
		}
	}
	for k := range m.queues {
		if !there[k] {
			names = append(names, k.name)
		}
	}
	return names
}

func (m *Monitor) own(queues []Queue) []Queue {
	var own []Queue
	for _, q := range queues {
		if strings.HasPrefix(q.Name, m.Prefix) {
			own = append(own, q)
		}
	}
	return own
}

// askable returns the vhosts whose channels are to be read: at each poll those with unacked
// messages or a changed number of consumers, at each overview all with consumers.
func (m *Monitor) askable(queues []Queue, slow bool) []string {
	return vhosts(queues, func(q Queue) bool {
		before := m.queues[q.key()]
		return positive(q.Unacked) || positive(before.Unacked) || !equal(q.Consumers, before.Consumers) || slow && positive(q.Consumers)
	})
}

// askChannels reads the channels of the vhosts in p.ChannelsOf, and removes the vhosts that could
// not be read from it.
func (m *Monitor) askChannels(ctx context.Context, p *poll) error {
	var problem error
	var read []string
	for _, vhost := range p.ChannelsOf {
		rows, err := m.channelsOf(ctx, vhost, p.At)
		if err != nil && !management.IsNotFound(err) { // a vhost may be deleted at any time
			problem = err
			continue
		}
		read = append(read, vhost)
		p.Channels = append(p.Channels, rows...)
		for _, row := range changedRows(m.channels[vhost], rows) {
			p.changed = append(p.changed, row.Queue)
		}
		m.channels[vhost] = rows
	}
	p.ChannelsOf = read
	return problem
}

func (m *Monitor) channelsOf(ctx context.Context, vhost string, at time.Time) ([]Channel, error) {
	channels, err := m.Broker.Channels(ctx, vhost)
	if err != nil {
		return nil, err
	}
	consumers, err := m.Broker.Consumers(ctx, vhost)
	if err != nil {
		return nil, err
	}
	if err := m.nameClients(ctx, consumers); err != nil {
		return nil, err
	}
	m.holds[vhost] = holding(m.holds[vhost], channels, at)
	rows := attribute(vhost, channels, consumers, m.clients, at)
	for i := range rows {
		if h, holds := m.holds[vhost][rows[i].Channel]; holds {
			rows[i].HoldingSince = &h.since
		}
	}
	return rows, nil
}

// nameClients reads the connections if a consumer's connection is not known yet.
func (m *Monitor) nameClients(ctx context.Context, consumers []management.Consumer) error {
	for _, c := range consumers {
		if _, known := m.clients[c.Connection]; !known {
			return m.askClients(ctx, consumers)
		}
	}
	return nil
}

func (m *Monitor) askClients(ctx context.Context, consumers []management.Consumer) error {
	connections, err := m.Broker.Connections(ctx)
	if err != nil {
		return err
	}
	for _, c := range connections {
		m.clients[c.Name] = c.Client
	}
	for _, c := range consumers { // do not read again at each poll for a connection that is not listed (yet, or any more)
		if _, known := m.clients[c.Connection]; !known {
			m.clients[c.Connection] = ""
		}
	}
	return nil
}

// changedRows returns the rows of now that are new or changed, and the rows of before that are missing in now.
func changedRows(before, now []Channel) []Channel {
	old := map[[2]string]Channel{}
	for _, c := range before {
		old[[2]string{c.Queue, c.Channel}] = c
	}
	var changed []Channel
	for _, c := range now {
		k := [2]string{c.Queue, c.Channel}
		if b, had := old[k]; !had || !b.same(c) {
			changed = append(changed, c)
		}
		delete(old, k)
	}
	for _, c := range old {
		changed = append(changed, c)
	}
	return changed
}

// keep stores a saved poll in memory, for comparison with the next one.
func (m *Monitor) keep(p poll) {
	queues, tracks := make(map[key]Queue, len(p.Queues)), make(map[key]track, len(p.Queues))
	for _, q := range p.Queues {
		queues[q.key()], tracks[q.key()] = q, m.tracks[q.key()]
	}
	m.queues, m.tracks, m.lastPoll = queues, tracks, &p.At
}

func (m *Monitor) save(ctx context.Context, p poll) error {
	ctx, cancel := context.WithTimeout(ctx, saveTimeout)
	defer cancel()
	if err := m.Store.SaveBroker(ctx, p.Snapshot); err != nil {
		return err
	}
	m.keep(p)
	if len(p.changed) > 0 {
		if len(p.changed) > namedMax {
			p.changed = nil
		}
		m.announce(engine.TopicQueues, p.changed...)
	}
	return nil
}

// health saves the broker's health. An empty problem means that it is healthy, possibly with a warning.
func (m *Monitor) health(ctx context.Context, problem string) error {
	m.details.Management = problem == ""
	if problem != "" {
		return m.saveHealth(ctx, false, problem)
	}
	return m.saveHealth(ctx, true, m.warning)
}

func (m *Monitor) saveHealth(ctx context.Context, ok bool, message string) error {
	ctx, cancel := context.WithTimeout(ctx, saveTimeout)
	defer cancel()
	changed, err := m.Store.SaveHealth(ctx, Component, ok, message, m.details)
	if changed {
		m.announce(engine.TopicHealth, Component)
	}
	return err
}

func (m *Monitor) announce(topic string, ids ...string) {
	if m.Announce != nil {
		m.Announce(topic, ids...)
	}
}

func (m *Monitor) thin(ctx context.Context) error {
	now := m.now()
	if now.Sub(m.thinnedAt) < thinEvery {
		return nil
	}
	m.thinnedAt = now
	ctx, cancel := context.WithTimeout(ctx, saveTimeout)
	defer cancel()
	return m.Store.ThinSamples(ctx, now)
}

// sentence describes the error to an operator.
func sentence(err error) string {
	var refused *management.Error
	if errors.As(err, &refused) {
		return refused.Error()
	}
	return "The broker's management API does not answer: " + err.Error() + "."
}
