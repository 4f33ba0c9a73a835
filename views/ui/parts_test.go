package ui_test

import (
	"context"
	"errors"
	"flag"
	"math"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/a-h/templ"

	"github.com/warrenjobs/warren/views/ui"
)

var update = flag.Bool("update", false, "write the golden files")

var now = time.Date(2026, 11, 21, 3, 18, 29, 0, time.UTC)

func render(t *testing.T, c templ.Component) string {
	t.Helper()
	var b strings.Builder
	if err := c.Render(ui.WithNow(context.Background(), now), &b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// pretty puts each element on a line of its own, so that a change reads well in a diff.
func pretty(html string) string {
	return strings.TrimSpace(regexp.MustCompile(`>\s*<`).ReplaceAllString(html, ">\n<")) + "\n"
}

func TestParts_LookAsTheyDid(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]templ.Component{
		"badge":        ui.Badge("retrying"),
		"time":         ui.Time(now.Add(130*time.Second), ui.In),
		"time-unknown": ui.Time(time.Time{}, ui.Ago),
		"tabs": ui.Tabs("States", []ui.Tab{{Label: "All", Href: "/jobs", Count: "10,000+", Active: true},
			{Label: "Dead", Href: "/jobs?state=dead", State: "dead"}}),
		"table": ui.Table(ui.TableProps{Caption: "Jobs", Pick: true, Cols: []ui.Col{{Label: "Job", Class: "grow"},
			{Label: "When", Class: "r", Sort: "/jobs?sort=when", Sorted: "descending"}, {Label: "Actions", Quiet: true}}}),
		"stat": ui.Stat(ui.StatProps{Label: "Redelivered", Value: "3.2", Unit: "/min", Hint: "from 1 worker", Tone: "warn",
			Href: "/queues", Spark: []float64{1, math.NaN(), 2, 3}, State: "retrying"}),
		"stat-unknown": ui.Stat(ui.StatProps{Label: "Memory", Value: ui.Unknown, Unit: "MB", Hint: "management API is away"}),
		"chart": ui.Charts(ui.ChartsProps{From: 0, To: 120, Charts: []ui.ChartProps{{ID: "depth", Title: "Depth", Step: 60,
			Series: []ui.ChartSeries{{Label: "Ready", State: "queued", Y: []float64{1, math.NaN(), 3}}}}},
			Marks: []ui.ChartMark{{At: time.Unix(60, 0), Until: time.Unix(90, 0)}, {At: time.Unix(30, 0)}}}),
		"chart-bars": ui.Charts(ui.ChartsProps{From: 30, To: 150, Charts: []ui.ChartProps{{ID: "redelivered", Title: "Redeliveries",
			Bars: true, Step: 60, Series: []ui.ChartSeries{{Label: "Per minute", State: "retrying", Y: []float64{1, 0, 3}}}}}}),
		"chart-empty": ui.Charts(ui.ChartsProps{Charts: []ui.ChartProps{{ID: "none", Title: "Depth"}}}),
		"input-error": ui.Input(ui.InputProps{FieldProps: ui.FieldProps{Name: "url", Label: "URL", Required: true,
			Error: "Not an address.", Help: "Where to."}, Type: "url", Value: `"><b>`}),
		"textarea": ui.Textarea(ui.TextareaProps{FieldProps: ui.FieldProps{Name: "body", Label: "Body", Note: "JSON"}, Value: "{\n}",
			Rows: 5, Mono: true}),
		"select": ui.Select(ui.SelectProps{FieldProps: ui.FieldProps{Name: "queue", Label: "Queue"},
			Options: []ui.Option{{Value: "a", Label: "A"}, {Value: "b", Label: "B", Selected: true}}}),
		"check": ui.Check(ui.CheckProps{FieldProps: ui.FieldProps{Name: "unique", Label: "Only one", Help: "A second is refused."},
			Checked: true}),
		"json": ui.JSON(ui.JSONProps{ID: "args", Label: "Arguments",
			Raw: []byte(`{"a":"<script>","b":"\u003cp\u003e \\u003c","n":[1,2]}`)}),
		"json-invalid": ui.JSON(ui.JSONProps{Label: "Raw", Raw: []byte("<b>\xff"), More: "/jobs/1/raw"}),
		"pager":        ui.Pager(ui.PagerProps{Info: "25 of 1,204", Next: "/jobs?before=1"}),
		"flash":        ui.Flash(ui.FlashProps{Kind: "done", Text: "2 jobs retried.", Detail: "1 skipped."}),
		"flash-error":  ui.Flash(ui.FlashProps{Kind: "error", Text: "The broker did not answer."}),
		"empty":        ui.Empty(ui.EmptyProps{Icon: "jobs", Title: "No dead jobs", Hint: "That is good."}),
		"action": ui.Action(ui.ActionProps{Label: "Retry", Icon: "retry", URL: "/jobs/1/retry",
			Hidden: []ui.Hidden{{Name: "id", Value: "1"}}, Primary: true}),
		"action-why": ui.Action(ui.ActionProps{Label: "Cancel", Why: "It is dead."}),
		"confirm": ui.Confirm(ui.ConfirmProps{ID: "purge", Label: "Purge…", Title: "Purge a.b-c?",
			Consequence: "1,204 messages are dropped.", Button: "Purge 1,204 messages", URL: "/queues/a.b-c/purge", Reason: "required",
			TypeName: "a.b-c", Danger: true}),
		"row-confirm":    ui.RowConfirm(discard, "/outbox?show=failing"),
		"confirm-dialog": ui.ConfirmDialog(discard),
		"panel-live": ui.Panel(ui.PanelProps{ID: "jobs-table", Title: "Jobs", Attrs: ui.Live(t.Context(), "/jobs?q=a&state=dead",
			"jobs", "queues")}),
		"menu":           ui.Menu("m", "Actions", "more"),
		"sparkline-gaps": ui.Sparkline([]float64{0, math.NaN(), math.Inf(1), -1, 4, 5}, "", "rising to 5"),
	} {
		got := pretty(render(t, c))
		file := "testdata/" + name + ".html"
		if *update {
			if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("%s differs; look at it and run go test ./views/ui -update\n%s", name, got)
		}
		for _, bad := range []string{"NaN", "Inf", " style=", "<script", "<style", " onclick"} {
			if strings.Contains(got, bad) {
				t.Errorf("%s contains %s", name, bad)
			}
		}
	}
}

var discard = ui.ConfirmProps{ID: "discard-7", Label: "Discard…", Title: "Discard this message?", Consequence: "Its job is cancelled.",
	Button: "Discard the message", URL: "/outbox/7/discard", Reason: "required", Danger: true,
	Hidden: []ui.Hidden{{Name: "back", Value: "/outbox"}}}

func TestParts_WithoutJavaScriptThePageOpensTheConfirmationThatWasAskedFor(t *testing.T) {
	t.Parallel()
	for id, opened := range map[string]bool{"discard-7": true, "discard-8": false, "": false} {
		var b strings.Builder
		if err := ui.RowConfirm(discard, "/outbox").Render(ui.WithAsked(t.Context(), id), &b); err != nil {
			t.Fatal(err)
		}
		html := b.String()
		if strings.Contains(html, "data-menu open>") != opened || strings.Contains(html, `action="/outbox/7/discard"`) != opened {
			t.Errorf("asked for %q: %s", id, html)
		}
	}
}

func TestParts_AReaderWhoMayChangeNothingSeesNoButtonsAndNoBoxes(t *testing.T) {
	t.Parallel()
	ctx := ui.WithReadOnly(t.Context())
	for name, part := range map[string]templ.Component{
		"Action":          ui.Action(ui.ActionProps{Label: "Retry", URL: "/x"}),
		"Action that not": ui.Action(ui.ActionProps{Label: "Retry", URL: "/x", Why: "it runs"}),
		"Confirm":         ui.Confirm(ui.ConfirmProps{ID: "c", Label: "Delete…", URL: "/x", Button: "Delete"}),
		"RowConfirm":      ui.RowConfirm(discard, "/outbox"),
		"ConfirmDialog":   ui.ConfirmDialog(discard),
		"BulkBar":         ui.BulkBar("bulk", nil),
		"AllBar":          ui.AllBar("All 60 that match"),
		"PickCell":        ui.PickCell("bulk", "id", "1", "row 1"),
	} {
		var read, write strings.Builder
		if err := errors.Join(part.Render(ctx, &read), part.Render(t.Context(), &write)); err != nil {
			t.Fatal(err)
		}
		if read.Len() != 0 || write.Len() == 0 {
			t.Errorf("%s: %q for who reads, %q for who writes", name, read.String(), write.String())
		}
	}
	var table strings.Builder
	if err := ui.Table(ui.TableProps{Pick: true, Cols: []ui.Col{{Label: "a"}}}).Render(ctx, &table); err != nil ||
		strings.Contains(table.String(), "checkbox") {
		t.Errorf("a table with a column for boxes: %v %s", err, table.String())
	}
}
