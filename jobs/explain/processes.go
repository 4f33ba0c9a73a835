package explain

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/warrenjobs/warren/jobs/engine"
)

// Gone describes the processes that have ended lately.
type Gone struct {
	Text   string // "17 processes gone in the last 5 min: 14 lost, 3 stopped."
	Lost   bool   // some were lost
	Groups []GoneGroup
	Dying  []string // of groups that keep losing processes: "Workers on reports die about every 6 s"
}

// GoneGroup holds the processes that ended in the same way and did the same.
type GoneGroup struct {
	Text  string // "14 workers on reports lost, one about every 6 s"
	Lost  bool   // killed, crashed or cut off; others have stopped in good order
	Last  time.Time
	Names []string // the latest first, each once

	one, many string // what they were
	n         int
	first     time.Time
}

// GoneProcesses groups processes that are gone or have stopped, given the latest first.
func GoneProcesses(list []engine.Process, now time.Time) Gone {
	if len(list) == 0 {
		return Gone{}
	}
	groups, lost := groupGone(list)
	gone := Gone{Lost: lost > 0, Text: fmt.Sprintf("%s gone in the last %d min: %s.", plural(int64(len(list)), "process", "processes"),
		int(engine.ProcessKeep.Minutes()), causes(lost, len(list)-lost))}
	for _, g := range groups {
		g.Text = g.text()
		gone.Groups = append(gone.Groups, *g)
		if every, known := g.every(); known && now.Sub(g.Last) <= 2*every+engine.ProcessGone {
			dying := fmt.Sprintf("%s%s die about every %s", strings.ToUpper(g.many[:1]), g.many[1:], span(every))
			gone.Dying, gone.Text = append(gone.Dying, dying), gone.Text+" "+dying+"."
		}
	}
	return gone
}

// groupGone returns the groups, the largest first, and how many of the processes were lost.
func groupGone(list []engine.Process) (groups []*GoneGroup, lost int) {
	for _, p := range list {
		one, many := nounOf(p)
		next := &GoneGroup{Lost: p.State == engine.ProcessIsGone, Last: p.SeenAt, one: one, many: many}
		if next.Lost {
			lost++
		}
		i := slices.IndexFunc(groups, func(g *GoneGroup) bool { return g.Lost == next.Lost && g.one == one })
		if i < 0 {
			i, groups = len(groups), append(groups, next)
		}
		g := groups[i]
		g.n, g.first = g.n+1, p.SeenAt
		if !slices.Contains(g.Names, p.Name) {
			g.Names = append(g.Names, p.Name)
		}
	}
	slices.SortStableFunc(groups, func(a, b *GoneGroup) int { return cmp.Compare(b.n, a.n) })
	return groups, lost
}

func causes(lost, stopped int) string {
	switch {
	case stopped == 0:
		return fmt.Sprintf("%d lost", lost)
	case lost == 0:
		return fmt.Sprintf("%d stopped", stopped)
	}
	return fmt.Sprintf("%d lost, %d stopped", lost, stopped)
}

// nounOf says what a process was: "worker on mail and media", "relay", "web and relay process".
func nounOf(p engine.Process) (one, many string) {
	one, many, of := "process", "processes", ""
	switch {
	case len(p.Roles) == len(engine.ProcessRoles):
		of = " with all roles"
	case len(p.Roles) != 1 || p.HasRole("web"):
		one, many = and(p.Roles)+" "+one, and(p.Roles)+" "+many
	default:
		one, many = p.Roles[0], p.Roles[0]+"s"
		if p.HasRole("worker") && len(p.Details.Queues) > 0 {
			of = " on " + and(p.Details.Queues)
		}
	}
	return one + of, many + of
}

func (g *GoneGroup) text() string {
	what := plural(int64(g.n), g.one, g.many)
	if !g.Lost {
		return what + " stopped"
	}
	if every, known := g.every(); known {
		return what + " lost, one about every " + span(every)
	}
	return what + " lost"
}

// every returns the mean time between two losses. One job that kills its workers takes three and is
// dead then: no more than that is no rate.
func (g *GoneGroup) every() (d time.Duration, known bool) {
	if !g.Lost || g.n <= 3 {
		return 0, false
	}
	return max(g.Last.Sub(g.first)/time.Duration(g.n-1), time.Second), true
}

// and joins names: "a", "a and b", "a, b and 3 more".
func and(names []string) string {
	switch n := len(names); {
	case n > 3:
		return strings.Join(names[:2], ", ") + fmt.Sprintf(" and %d more", n-2)
	case n > 1:
		return strings.Join(names[:n-1], ", ") + " and " + names[n-1]
	}
	return strings.Join(names, "")
}
