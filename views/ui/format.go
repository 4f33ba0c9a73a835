// Package ui holds the parts that pages are made of. They show what they are given and know nothing
// of jobs, stores or requests.
package ui

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// Unknown stands in for a value that is not known. Unknown is not zero.
const Unknown = "–"

// Number formats a whole number with thousands separators: 1,234.
// A negative number has no meaning on any of our pages and is Unknown.
func Number(n int64) string {
	if n < 0 {
		return Unknown
	}
	digits := strconv.FormatInt(n, 10)
	var b strings.Builder
	for i, d := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteRune(d)
	}
	return b.String()
}

// Short formats a number for tight places: 1,234 · 12.3k · 4.6M.
func Short(n int64) string {
	if n < 10_000 {
		return Number(n)
	}
	return scaled(float64(n))
}

// Capped formats a count that stopped counting at limit: 10,000+.
func Capped(n, limit int64) string {
	if n >= limit {
		return Number(limit) + "+"
	}
	return Number(n)
}

// Rate formats events per second, without the unit: 0.04 · 3.2 · 148 · 12.3k.
func Rate(perSecond float64) string {
	switch {
	case !known(perSecond):
		return Unknown
	case perSecond == 0:
		return "0"
	case perSecond < 0.01:
		return "<0.01"
	case perSecond < 0.995:
		return trim(perSecond, 2)
	case perSecond < 99.95:
		return trim(perSecond, 1)
	case perSecond < 9_999.5:
		return Number(int64(math.Round(perSecond)))
	}
	return scaled(perSecond)
}

// Percent formats a share between 0 and 1: 0 % · 0.4 % · 37 %.
func Percent(share float64) string {
	if !known(share) {
		return Unknown
	}
	if p := share * 100; p > 0 && p < 9.95 {
		return trim(p, 1) + " %"
	}
	return strconv.FormatFloat(math.Round(share*100), 'f', 0, 64) + " %"
}

// Bytes formats a size in binary steps: 512 B · 1.4 MB.
func Bytes(n int64) string {
	if n < 0 {
		return Unknown
	}
	if n < 1024 {
		return strconv.FormatInt(n, 10) + " B"
	}
	f, unit := float64(n)/1024, 0
	for f >= 999.5 && unit < 4 {
		f, unit = f/1024, unit+1
	}
	return threeDigits(f) + " " + []string{"kB", "MB", "GB", "TB", "PB"}[unit]
}

// Duration formats a span with at most two units: 45 ms · 1.2 s · 2 m 10 s ·
// 3 d 4 h. A negative span is Unknown: clocks of two machines disagree.
func Duration(d time.Duration) string {
	switch {
	case d < 0:
		return Unknown
	case d == 0:
		return "0 ms"
	case d < time.Millisecond:
		return "<1 ms"
	case d < 999500*time.Microsecond:
		return strconv.FormatInt(d.Round(time.Millisecond).Milliseconds(), 10) + " ms"
	case d < 9950*time.Millisecond:
		return trim(d.Seconds(), 1) + " s"
	}
	return seconds(int64(d.Round(time.Second) / time.Second))
}

// seconds is Duration for whole seconds. warren.js has the same function, so
// that a ticking time reads as the server would have written it.
func seconds(s int64) string {
	unit := func(n int64, u string) string { return strconv.FormatInt(n, 10) + " " + u }
	two := func(a int64, ua string, b int64, ub string) string {
		if b == 0 {
			return unit(a, ua)
		}
		return unit(a, ua) + " " + unit(b, ub)
	}
	switch {
	case s < 60:
		return unit(s, "s")
	case s < 3600:
		return two(s/60, "m", s%60, "s")
	case s < 86400:
		return two(s/3600, "h", s%3600/60, "m")
	case s < 30*86400:
		return two(s/86400, "d", s%86400/3600, "h")
	}
	return unit(s/86400, "d")
}

// TimeMode is how Time puts a time into words.
type TimeMode string

// The modes.
const (
	Ago      TimeMode = "ago"      // 3 s ago
	For      TimeMode = "for"      // 2 m 10 s, for what still goes on
	In       TimeMode = "in"       // in 2 m 10 s; due now; overdue by 5 s
	Absolute TimeMode = "absolute" // 2026-11-21 03:18:29 UTC
	Clock    TimeMode = "clock"    // 03:18:29, or 21 Nov 03:18:29 on another day
	Minute   TimeMode = "minute"   // today 03:18, or 21 Nov 03:18 on another day
	When     TimeMode = "when"     // in 40 s or 12 s ago within 5 minutes, else at 03:18:29
	// Day and TimeOfDay go together: a heading, and the times below it.
	Day       TimeMode = "day"  // 21 November 2026 UTC
	TimeOfDay TimeMode = "time" // 03:18:29
	Zone      TimeMode = "zone" // UTC: whose clocks are shown
)

// Relative puts t into words, relative to now.
func Relative(t, now time.Time, mode TimeMode) string {
	if t.IsZero() {
		return Unknown
	}
	if mode == Absolute {
		return t.UTC().Format("2006-01-02 15:04:05") + " UTC"
	}
	s := int64(math.Floor(now.Sub(t).Seconds()))
	switch mode {
	case Day:
		return t.UTC().Format("2 January 2006") + " UTC"
	case TimeOfDay:
		return t.UTC().Format(time.TimeOnly)
	case Zone:
		return "UTC"
	case Clock:
		return clock(t.UTC(), now.UTC()) + " UTC"
	case Minute:
		if sameDay(t.UTC(), now.UTC()) {
			return t.UTC().Format("today 15:04") + " UTC"
		}
		return t.UTC().Format("2 Jan 15:04") + " UTC"
	case When:
		if s <= -300 || s >= 300 {
			return "at " + Relative(t, now, Clock)
		}
		if s < 0 {
			return Relative(t, now, In)
		}
	case For:
		return far(max(s, 0))
	case In:
		switch {
		case s < 0:
			return "in " + far(-s)
		case s < 2:
			return "due now"
		}
		return "overdue by " + far(s)
	}
	if s < 1 {
		return "just now"
	}
	return far(s) + " ago"
}

// far is seconds without those of a time of 10 minutes or more, as in warren.js.
func far(s int64) string {
	if s >= 600 {
		s -= s % 60
	}
	return seconds(s)
}

func clock(t, now time.Time) string {
	if sameDay(t, now) {
		return t.Format(time.TimeOnly)
	}
	return t.Format("2 Jan " + time.TimeOnly)
}

func sameDay(t, now time.Time) bool { return t.Format(time.DateOnly) == now.Format(time.DateOnly) }

func known(f float64) bool { return !math.IsNaN(f) && !math.IsInf(f, 0) && f >= 0 }

func scaled(f float64) string {
	unit := -1
	for f >= 999.5 && unit < 3 {
		f, unit = f/1000, unit+1
	}
	if unit < 0 {
		return trim(f, 1)
	}
	return threeDigits(f) + []string{"k", "M", "G", "T"}[unit]
}

func threeDigits(f float64) string {
	if f < 99.95 {
		return trim(f, 1)
	}
	return strconv.FormatFloat(math.Round(f), 'f', 0, 64)
}

func trim(f float64, decimals int) string {
	s := strconv.FormatFloat(f, 'f', decimals, 64)
	return strings.TrimSuffix(strings.TrimRight(s, "0"), ".")
}
