package views_test

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/views"
)

func TestEvents_ThoseThatDifferInTimeAloneAndNobodyReceivedAreOneRow(t *testing.T) {
	t.Parallel()
	at := time.Now()
	event := func(key, body string, receipts ...engine.EventReceipt) engine.Event {
		return engine.Event{ID: uuid.New(), Exchange: "shop", Key: key, Body: []byte(body), UnheardAt: &at, Receipts: receipts}
	}
	routed := event("beat", `{"n":1}`)
	routed.UnheardAt = nil
	received := engine.EventReceipt{Subscriber: "copy", State: jobs.Completed}
	page := jobs.Page[engine.Event]{Items: []engine.Event{
		event("beat", `{"n":1}`), event("beat", `{"n":1}`), event("beat", `{"n":1}`), event("beat", `{"n":2}`), event("other", `{"n":2}`),
		event("beat", `{"n":1}`), routed, event("order", `{}`, received), event("order", `{}`, received)}}
	more := func(f engine.EventFilter) (list []int) {
		for _, r := range views.NewEventsModel(page, f, jobs.Cursor{}, nil, engine.EventCounts{}).Rows {
			list = append(list, r.More)
		}
		return list
	}
	require.Equal(t, []int{2, 0, 0, 0, 0, 0, 0}, more(engine.EventFilter{}))
	require.Len(t, more(engine.EventFilter{Key: "beat"}), len(page.Items), "who asks for a key sees each")
	m := views.NewEventsModel(page, engine.EventFilter{Outcome: engine.EventsUnheard}, jobs.Cursor{}, nil, engine.EventCounts{})
	require.Equal(t, "/events?exchange=shop&key=beat&outcome=unheard", m.Rows[0].All)
	require.Contains(t, m.Pager.Info, "9", "all are counted")
}
