package views

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/views/ui"
)

// RecentRuns is how many of the last runs of its kind the page of a job shows.
const RecentRuns = 20

// Recent compares a job with those of its kind that ended last: a bar for each, as high as its last run was long.
type Recent struct {
	Words   string // all of it, for those who do not see the bars
	Longest string // run
	Bars    []RecentBar
}

// RecentBar is one job.
type RecentBar struct {
	Href   string
	Title  string
	State  string
	Height int // in hundredths of the longest
	This   bool
}

// barFloor is the least height of a bar that can be seen, in hundredths.
const barFloor = 6

func newRecent(list []jobs.Job, this uuid.UUID) Recent {
	var r Recent
	lengths := make([]time.Duration, len(list))
	for i, j := range list {
		lengths[i] = max(j.FinishedAt.Sub(*j.StartedAt), 0)
	}
	if len(list) == 0 {
		return r
	}
	counts, longest := map[jobs.State]int{}, max(slices.Max(lengths), 1)
	for i, j := range list {
		counts[j.State]++
		r.Bars = append(r.Bars, RecentBar{Href: "/jobs/" + j.ID.String(), State: string(j.State), This: j.ID == this,
			Title: string(j.State) + " after " + ui.Duration(lengths[i]), Height: max(int(100*lengths[i]/longest), barFloor)})
	}
	r.Longest = ui.Duration(longest)
	var parts []string
	for _, s := range []jobs.State{jobs.Completed, jobs.Dead, jobs.Cancelled} {
		if n := counts[s]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, s))
		}
	}
	slices.Sort(lengths)
	r.Words = strings.Join(parts, ", ") + " · median " + ui.Duration(lengths[len(lengths)/2])
	return r
}
