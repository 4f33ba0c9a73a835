package handlers

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/labstack/echo/v4"
	"golang.org/x/time/rate"

	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/store"
	"github.com/warrenjobs/warren/views"
)

// Limits of the live connection.
const (
	livePing    = 15 * time.Second // comments keep proxies from closing an idle stream
	liveStatus  = 5 * time.Second  // at least so often the status is sent, also unchanged: the page is known to be current
	liveFirst   = time.Second      // a page that was just rendered shows what changed just now
	liveMax     = 30 * time.Minute // then the browser reconnects: streams must not outlive deploys and sign-outs
	liveCollect = 100 * time.Millisecond
	liveClients = 1000             // of this process
	liveEach    = 100              // of one login, user or address
	liveSkew    = 2 * time.Second  // between the clocks of two web processes
	liveNamed   = time.Minute      // a page connects well within this after it was rendered
	liveWrite   = 30 * time.Second // a browser that reads nothing must not keep its connection
)

// Hub notifies browsers of the topics that changed. Safe for concurrent use.
type Hub struct {
	mu      sync.Mutex
	clients map[*client]struct{}
	owners  map[string]int       // how many clients each has
	last    map[string]time.Time // change of each topic, and of each job that was named in the last minute
	status  string               // the last one
	toldAt  time.Time            // when it was sent
	hurry   chan struct{}        // the status has changed
	over    chan struct{}        // closed by Close
	close   sync.Once
	refused rate.Sometimes // logs a client too many
}

// NewHub returns a hub without clients.
func NewHub() *Hub {
	return &Hub{clients: map[*client]struct{}{}, owners: map[string]int{}, last: map[string]time.Time{}, over: make(chan struct{}),
		hurry: make(chan struct{}, 1), refused: rate.Sometimes{Interval: time.Minute}}
}

// Close ends all streams, including later ones. Idempotent.
func (h *Hub) Close() { h.close.Do(func() { close(h.over) }) }

// client is one open stream: the topics it subscribed to, and what changed since its last message.
type client struct {
	owner  string
	topics []string
	mu     sync.Mutex
	news   news
	wake   chan struct{}
}

// news is the number of changes of each topic, and the status, "" if it was sent already.
type news struct {
	changed map[string]int
	status  string
}

// Change marks a topic, and each named job's own topic, for the clients that subscribed to it. It
// never blocks: a slow client gets one message for many changes.
func (h *Hub) Change(ch store.Change) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	h.last[ch.Topic] = now
	if ch.Topic == engine.TopicJobs {
		for _, id := range ch.IDs {
			h.last[jobTopic+id] = now
		}
		if len(ch.IDs) == 0 {
			h.last[views.TopicUnnamedJobs] = now
		}
	}
	for cl := range h.clients {
		cl.mark(ch)
	}
	if ch.Topic == engine.TopicHealth {
		select {
		case h.hurry <- struct{}{}:
		default:
		}
	}
}

// anybody reports whether a stream is open.
func (h *Hub) anybody() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.clients) > 0
}

// tell sends the status, in HTML, to every client if it has changed or is due again.
func (h *Hub) tell(status string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if status == h.status && time.Since(h.toldAt) < liveStatus {
		return
	}
	h.status, h.toldAt = status, time.Now()
	for cl := range h.clients {
		cl.mu.Lock()
		cl.news.status = status
		cl.mu.Unlock()
		cl.rouse()
	}
}

// jobTopic begins the topic of one job, which changes when the job is named. A page that shows a job
// that may yet change follows views.TopicUnnamedJobs, too.
const jobTopic = "job-"

// Lost makes every client refetch everything, as notifications of changes may have been missed.
func (h *Hub) Lost() {
	h.mu.Lock()
	for cl := range h.clients {
		cl.markAll()
	}
	h.mu.Unlock()
	for _, t := range []string{engine.TopicJobs, engine.TopicQueues, engine.TopicHealth, engine.TopicAudit, engine.TopicTasks,
		engine.TopicOutbox, engine.TopicWorkers, engine.TopicFailures} {
		h.Change(store.Change{Topic: t})
	}
}

// forget drops the jobs whose last change is older than before.
func (h *Hub) forget(before time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	maps.DeleteFunc(h.last, func(topic string, at time.Time) bool { return strings.HasPrefix(topic, jobTopic) && at.Before(before) })
}

// mark notes a change of the client's topics.
func (cl *client) mark(ch store.Change) {
	cl.note(max(len(ch.IDs), 1), func(topic string) bool {
		if topic == ch.Topic {
			return true
		}
		if ch.Topic != engine.TopicJobs {
			return false
		}
		id, one := strings.CutPrefix(topic, jobTopic)
		return one && slices.Contains(ch.IDs, id) || topic == views.TopicUnnamedJobs && len(ch.IDs) == 0
	})
}

// markAll notes a change of all topics of the client.
func (cl *client) markAll() { cl.note(1, func(string) bool { return true }) }

// note counts n changes of each topic of the client that hit accepts, and wakes its stream.
func (cl *client) note(n int, hit func(topic string) bool) {
	cl.mu.Lock()
	for _, topic := range cl.topics {
		if hit(topic) {
			cl.news.changed[topic] += n
		}
	}
	changed := len(cl.news.changed) > 0
	cl.mu.Unlock()
	if changed {
		cl.rouse()
	}
}

// rouse wakes the stream of the client.
func (cl *client) rouse() {
	select {
	case cl.wake <- struct{}{}:
	default:
	}
}

func (cl *client) take() news {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	taken := cl.news
	cl.news = news{changed: map[string]int{}}
	return taken
}

// join adds a client, and marks the topics that changed since its page was rendered, of which it
// was not notified. It returns an error, with a message for the user, if there are too many clients.
func (h *Hub) join(owner string, topics []string, rendered time.Time) (*client, error) {
	cl := &client{owner: owner, topics: topics, news: news{changed: map[string]int{}}, wake: make(chan struct{}, 1)}
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.owners[owner] >= liveEach:
		return nil, tooManyStreams("%d pages are open with this login or from this address, and no more are live at once: "+
			"close some.", liveEach)
	case len(h.clients) >= liveClients:
		return nil, tooManyStreams("%d pages are open, and this process keeps no more live at once.", liveClients)
	}
	h.clients[cl] = struct{}{}
	h.owners[owner]++
	for topic, at := range h.last {
		if !rendered.IsZero() && at.After(rendered.Add(-liveSkew)) {
			cl.note(1, func(own string) bool { return own == topic })
		}
	}
	return cl, nil
}

// tooManyStreams returns an error upon which the page polls.
func tooManyStreams(format string, limit int) error {
	return echo.NewHTTPError(http.StatusTooManyRequests, fmt.Sprintf(format, limit))
}

func (h *Hub) leave(cl *client) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.clients, cl)
	if h.owners[cl.owner]--; h.owners[cl.owner] == 0 {
		delete(h.owners, cl.owner)
	}
}

// streamOwner returns whose stream a request opens: that of a login, else of a user, else of an
// address.
func streamOwner(c echo.Context) string {
	if l, ok := c.Get(loginKey).(login); ok {
		return "login " + l.id.String()
	}
	if name := accountOf(c); name != "" {
		return "user " + name
	}
	return "address " + place(c.RealIP())
}

// live serves the one stream of a tab. It carries the names of changed topics, and the status that
// all pages share.
func (a *App) live(c echo.Context) error {
	topics := strings.Split(c.QueryParam("topics"), ",")
	if len(topics) > 10 {
		return badField("topics", "are at most 10")
	}
	if strings.ContainsFunc(c.QueryParam("topics"), unicode.IsControl) { // topics become lines of the stream
		return badField("topics", "are names")
	}
	var rendered time.Time
	if ms, err := strconv.ParseInt(c.QueryParam("rendered"), 10, 64); err == nil && ms > 0 {
		rendered = time.UnixMilli(ms)
	}
	if !flushes(c.Response().Writer) {
		return echo.NewHTTPError(http.StatusNotImplemented,
			"A middleware in front of Warren holds answers back until they are complete: the page asks every few seconds.")
	}
	if c.Request().Method == http.MethodHead {
		return c.NoContent(http.StatusOK)
	}
	cl, err := a.Live.join(streamOwner(c), topics, rendered)
	if err != nil {
		a.Live.refused.Do(func() {
			a.Log.Warn("too many live pages: more of them poll", "account", accountOf(c), "from", c.RealIP(), "error", err)
		})
		return err
	}
	defer a.Live.leave(cl)
	defer a.Tails.Watch(topics)()

	w := c.Response()
	extend(w)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Accel-Buffering", "no")
	w.WriteHeader(http.StatusOK)
	_, _ = fmt.Fprint(w, ": connected\n\n")
	w.Flush()

	ctx, cancel := context.WithTimeout(c.Request().Context(), liveMax)
	defer cancel()
	select {
	case <-ctx.Done():
	case <-a.Live.over:
	case <-time.After(min(time.Until(rendered.Add(liveFirst)), liveFirst)):
	}
	return a.Live.stream(ctx, w, cl, func() bool { return a.mayGoOn(c) })
}

// mayGoOn reports whether the login that opened a stream stands, or could not be checked.
func (a *App) mayGoOn(c echo.Context) bool {
	l, ok := c.Get(loginKey).(login)
	if !ok {
		return true
	}
	stands, err := a.stands(c.Request().Context(), l)
	return stands || err != nil
}

// flushes reports whether w can send data at once; the writer of http.TimeoutHandler, for example,
// cannot. Without it a page falls back to polling.
func flushes(w http.ResponseWriter) bool {
	switch w := w.(type) {
	case http.Flusher, interface{ FlushError() error }:
		return true
	case interface{ Unwrap() http.ResponseWriter }:
		return flushes(w.Unwrap())
	}
	return false
}

// extend sets the write deadline of the next message; the server's own would cut the stream.
func extend(w http.ResponseWriter) {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(liveWrite))
}

func (h *Hub) stream(ctx context.Context, w *echo.Response, cl *client, mayGoOn func() bool) error {
	ping := time.NewTicker(livePing)
	defer ping.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-h.over:
			return nil
		case <-ping.C:
			if !mayGoOn() {
				return nil
			}
			extend(w)
			if _, err := fmt.Fprint(w, ": ping\n\n"); err != nil {
				return nil
			}
		case <-cl.wake:
			extend(w)
			if !send(w, cl.take()) {
				return nil
			}
			select { // what changes meanwhile goes into the next message
			case <-ctx.Done():
				return nil
			case <-time.After(liveCollect):
			}
		}
		w.Flush()
	}
}

func send(w *echo.Response, n news) bool {
	if n.status != "" {
		if _, err := fmt.Fprintf(w, "data: %s\n\n", strings.ReplaceAll(n.status, "\n", "\ndata: ")); err != nil {
			return false
		}
	}
	for topic, n := range n.changed {
		data, err := json.Marshal(map[string]int{"n": n})
		if err != nil {
			continue
		}
		if _, err := fmt.Fprintf(w, "event: %s\ndata: %s\n\n", topic, data); err != nil {
			return false
		}
		w.Flush()
	}
	return true
}
