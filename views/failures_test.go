package views_test

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/views"
)

func TestFailure_PlaceholdersStandOutFromTheWordsOfAnError(t *testing.T) {
	t.Parallel()
	for text, parts := range map[string]views.Pattern{
		"mail to <email> bounced": {{Text: "mail to "}, {Text: "<email>", Placeholder: true}, {Text: " bounced"}},
		"read <s>":                {{Text: "read "}, {Text: "<text>", Placeholder: true}, {}},
		"a <b> c":                 {{Text: "a <b> c"}},
		"":                        {{Text: "No error was recorded"}},
	} {
		require.Equal(t, parts, views.NewFailureRow(jobs.FailureGroup{Error: text}).Error, text)
	}
}

func TestFailure_SaysWhatWasDoneToAllItsJobsAndWhatBecameOfThem(t *testing.T) {
	t.Parallel()
	operation := uuid.New()
	link := "/jobs?operation=" + operation.String()
	for _, c := range []struct {
		action jobs.FailureAction
		counts map[jobs.State]jobs.Count
		words  string
		watch  string
	}{
		{jobs.FailureAction{Done: 87, Retried: true, Operation: operation, Actor: "ann", Reason: "card processor is back"},
			map[jobs.State]jobs.Count{jobs.Completed: 60, jobs.Queued: 20, jobs.Dead: 7},
			"87 jobs were retried … by ann (“card processor is back”): 20 queued, 60 completed, 7 dead", link},
		{jobs.FailureAction{Done: 3, Retried: true, Operation: operation, Actor: "ann"}, map[jobs.State]jobs.Count{jobs.Running: 1},
			"3 jobs were retried … by ann: 1 running, 2 retried again, purged or deleted since", link},
		{jobs.FailureAction{Done: 1, Retried: true, Operation: operation}, map[jobs.State]jobs.Count{},
			"1 job was retried …: 1 retried again, purged or deleted since", ""},
		{jobs.FailureAction{Done: 1, Retried: true, Operation: operation}, nil, "1 job was retried …", link},
		{jobs.FailureAction{Done: 2, Retried: true, Actor: "ann"}, nil, "2 jobs were retried … by ann", ""},
		{jobs.FailureAction{Done: 2, Actor: "ann", Reason: "test data"}, nil, "2 jobs were deleted … by ann (“test data”)", ""},
	} {
		a := views.GoneFailure(uuid.New()).WithAction(c.action, c.counts).Action
		require.Equal(t, c.words, a.What+" …"+a.After)
		require.Equal(t, c.watch, a.Jobs, c.words)
	}
}

func TestFailures_SayHowManyThereAre(t *testing.T) {
	t.Parallel()
	for want, n := range map[string]struct {
		dead   jobs.Count
		groups int
	}{
		"Dead jobs grouped by error":                           {0, 0},
		"1 dead job in 1 group by error":                       {1, 1},
		"1,394 dead jobs in 8 groups by error":                 {1394, 8},
		"10,000+ dead jobs in more than 1,000 groups by error": {10001, 1001},
	} {
		m := views.NewFailuresModel(jobs.Page[jobs.FailureGroup]{}, nil, jobs.FailureCounts{Groups: n.groups}, n.dead, jobs.FailureFilter{},
			jobs.Cursor{}, nil, nil)
		require.Equal(t, want, m.About)
	}
}

func TestFailures_SayHowManyTheListOfOpenOnesDoesNotShow(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		status jobs.FailureStatus
		counts jobs.FailureCounts
		hidden string
	}{
		{jobs.FailureOpen, jobs.FailureCounts{Groups: 4, Open: 4}, ""},
		{jobs.FailureOpen, jobs.FailureCounts{Groups: 7, Open: 4, Known: 3}, "3 known failures are not shown."},
		{jobs.FailureOpen, jobs.FailureCounts{Groups: 1, Fixed: 1}, "1 fixed failure is not shown."},
		{jobs.FailureOpen, jobs.FailureCounts{Groups: 5, Known: 3, Fixed: 2}, "3 known and 2 fixed failures are not shown."},
		{jobs.FailureKnown, jobs.FailureCounts{Groups: 5, Known: 3, Fixed: 2}, ""},
		{"", jobs.FailureCounts{Groups: 5, Known: 3, Fixed: 2}, ""},
	} {
		m := views.NewFailuresModel(jobs.Page[jobs.FailureGroup]{}, nil, c.counts, 9, jobs.FailureFilter{Status: c.status, Kind: "mail"},
			jobs.Cursor{}, nil, nil)
		require.Equal(t, c.hidden, m.Hidden)
		require.Equal(t, "/failures?kind=mail&status=all", m.All, "the other filters stay")
	}
}

func TestFailure_SaysWhoMarkedItWhenAndWhy(t *testing.T) {
	t.Parallel()
	mark := func(status jobs.FailureStatus, by, note string, died jobs.Count) *jobs.FailureMark {
		return &jobs.FailureMark{Status: status, By: by, Note: note, DiedSince: died, At: ago(2 * time.Hour)}
	}
	for want, g := range map[string]jobs.FailureGroup{
		"": {Status: jobs.FailureOpen},
		"marked as known by anna 2 h ago, 3 jobs died since (“the vendor is told”)": {Status: jobs.FailureKnown,
			Mark: mark(jobs.FailureKnown, "anna", "the vendor is told", 3)},
		"marked as fixed on the dashboard 2 h ago": {Status: jobs.FailureFixed, Mark: mark(jobs.FailureFixed, "web", "", 0)},
		"came back: fixed by anna 2 h ago, 1 job died since": {Status: jobs.FailureOpen,
			Mark: mark(jobs.FailureFixed, "anna", "", 1)},
		"came back: fixed via the API 2 h ago, 1,000+ jobs died since (“v1.4”)": {Status: jobs.FailureOpen,
			Mark: mark(jobs.FailureFixed, "api", "v1.4", 1001)},
	} {
		require.Equal(t, want, views.MarkText(g, jobs.FailureCountCap).In(night))
	}
}

func TestFailure_SaysBeforeARetryHowJobsOfTheKindDoNow(t *testing.T) {
	t.Parallel()
	ended := func(states ...jobs.State) (list []jobs.Job) {
		for i, s := range states {
			at := ago(time.Duration(len(states)-i) * time.Minute)
			list = append(list, jobs.Job{State: s, StartedAt: &at, FinishedAt: &at})
		}
		return list
	}
	good, bad := jobs.Completed, jobs.Dead
	worked := map[string]jobs.Around{"mail": {Known: true, Workers: 1}}
	for want, f := range map[string]views.FailureFacts{
		"": {Around: worked},
		"The last job of this kind did not complete.":                           {Recent: ended(bad), Around: worked},
		"None of the last 3 jobs of this kind completed.":                       {Recent: ended(bad, bad, bad), Around: worked},
		"2 of the last 3 jobs of this kind completed; the newest did not.":      {Recent: ended(good, good, bad), Around: worked},
		"The last job of this kind completed 1 m ago.":                          {Recent: ended(good, bad, good), Around: worked},
		"The last 2 jobs of this kind completed, the newest 1 m ago.":           {Recent: ended(bad, good, good), Around: worked},
		"The last job of this kind completed 1 m ago. No worker consumes mail.": {Recent: ended(bad, good)},
	} {
		if f.Around == nil {
			f.Around = map[string]jobs.Around{"mail": {Known: true}}
		}
		f.Group = jobs.FailureGroup{Kind: "send", Queues: []string{"mail"}}
		f.Queue = func(string) string { return "" }
		require.Equal(t, want, views.NewFailureModel(f).Outlook.In(night))
	}
}

func TestFailure_DoesNotRepeatAnErrorThatItsTitleSays(t *testing.T) {
	t.Parallel()
	for newest, shown := range map[string]string{"out of paper": "", "out of paper\nat tray 2": "out of paper\nat tray 2"} {
		m := views.NewFailureModel(views.FailureFacts{Group: jobs.FailureGroup{Error: "out of paper", NewestError: newest}})
		require.Equal(t, shown, m.Latest.Error)
	}
}

func TestFailure_ItsTitleInTheTabIsItsError(t *testing.T) {
	t.Parallel()
	g := jobs.FailureGroup{Kind: "mail", Error: "mail to <email> bounced", NewestError: "mail to a@b.c bounced", LastSeen: time.Now()}
	require.Equal(t, g.Error, views.NewFailureModel(views.FailureFacts{Group: g}).Title())
	require.Equal(t, "Failure", views.GoneFailure(uuid.New()).Title())
}
