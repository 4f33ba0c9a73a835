package main

import (
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/stretchr/testify/require"
)

func TestAudit_DaysAreThoseOfTheReader(t *testing.T) {
	d := deploy(t)
	d.start("web")
	d.ready()
	d.sql(`INSERT INTO warren.audit (at, actor, action, target) VALUES ('2026-11-29 23:30Z', 'ada', 'queue.pause', 'queue:mail'),
		('2026-11-30 00:30Z', 'ada', 'queue.resume', 'queue:mail')`)
	page := d.page("/audit")
	require.Equal(t, 2, strings.Count(page, `class="day" data-day`), "in UTC without JavaScript")
	require.Contains(t, page, "30 November 2026 UTC")
	b := d.open()
	command(b, emulation.SetTimezoneOverride, emulation.SetTimezoneOverrideParams{TimezoneID: "America/New_York"})
	b.goTo("/audit")
	b.until(`[...document.querySelectorAll("[data-day]:not([hidden])")].map((h) => h.innerText).join() === "29 November 2026"`)
	require.Equal(t, "19:30:00,18:30:00",
		value[string](b, `[...document.querySelectorAll("[data-time=time]")].map((t) => t.innerText).join()`))
}
