package ui

import (
	"math"
	"strings"
	"testing"
	"time"
)

func TestFormat_NumbersReadAsPeopleWriteThem(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ got, want string }{
		{Number(0), "0"}, {Number(999), "999"}, {Number(1234), "1,234"}, {Number(1234567), "1,234,567"}, {Number(-1), "–"},
		{Short(9999), "9,999"}, {Short(10_000), "10k"}, {Short(12_345), "12.3k"}, {Short(99_960), "100k"}, {Short(999_499), "999k"},
		{Short(999_500), "1M"},
		{Short(4_560_000), "4.6M"}, {Short(7_000_000_000), "7G"}, {Short(-5), "–"},
		{Capped(9_999, 10_000), "9,999"}, {Capped(10_000, 10_000), "10,000+"}, {Capped(70_000, 10_000), "10,000+"},
		{Rate(0), "0"}, {Rate(0.004), "<0.01"}, {Rate(0.04), "0.04"}, {Rate(0.996), "1"}, {Rate(3.24), "3.2"}, {Rate(99.94), "99.9"},
		{Rate(99.96), "100"},
		{Rate(148.4), "148"}, {Rate(9_999.7), "10k"}, {Rate(12_345), "12.3k"},
		{Rate(math.NaN()), "–"}, {Rate(math.Inf(1)), "–"}, {Rate(-0.1), "–"},
		{Percent(0), "0 %"}, {Percent(0.004), "0.4 %"}, {Percent(0.37), "37 %"}, {Percent(1), "100 %"}, {Percent(math.NaN()), "–"},
		{Percent(-1), "–"},
		{Bytes(0), "0 B"}, {Bytes(512), "512 B"}, {Bytes(1434), "1.4 kB"}, {Bytes(1_048_575), "1 MB"}, {Bytes(5 << 30), "5 GB"},
		{Bytes(-1), "–"},
	} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
}

func TestFormat_DurationsHaveAtMostTwoUnits(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		-1:                          "–",
		0:                           "0 ms",
		40 * time.Microsecond:       "<1 ms",
		45 * time.Millisecond:       "45 ms",
		999 * time.Millisecond:      "999 ms",
		999600 * time.Microsecond:   "1 s",
		1240 * time.Millisecond:     "1.2 s",
		9960 * time.Millisecond:     "10 s",
		59 * time.Second:            "59 s",
		59*time.Second + 600e6:      "1 m",
		130 * time.Second:           "2 m 10 s",
		time.Hour:                   "1 h",
		3*time.Hour + 5*time.Minute: "3 h 5 m",
		76 * time.Hour:              "3 d 4 h",
		400 * 24 * time.Hour:        "400 d",
	} {
		if got := Duration(d); got != want {
			t.Errorf("Duration(%d) = %q, want %q", d, got, want)
		}
	}
}

func TestFormat_MomentsAreWordedFromNow(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 21, 3, 18, 29, 500e6, time.UTC)
	for _, c := range []struct {
		ago  time.Duration
		mode TimeMode
		want string
	}{
		{0, Ago, "just now"},
		{3500 * time.Millisecond, Ago, "3 s ago"},
		{9*time.Minute + 59*time.Second, Ago, "9 m 59 s ago"},
		{10*time.Minute + 59*time.Second, Ago, "10 m ago"},
		{12*time.Minute + 5*time.Second, For, "12 m"},
		{-(12*time.Minute + 5*time.Second), In, "in 12 m"},
		{26 * time.Hour, Ago, "1 d 2 h ago"},
		{-5 * time.Second, Ago, "just now"}, // a clock ahead of ours
		{130 * time.Second, For, "2 m 10 s"},
		{-time.Second, For, "0 s"},
		{-130 * time.Second, In, "in 2 m 10 s"},
		{0, In, "due now"},
		{5 * time.Second, In, "overdue by 5 s"},
		{500 * time.Millisecond, Absolute, "2026-11-21 03:18:29 UTC"},
		{time.Hour, Clock, "02:18:29 UTC"},
		{26 * time.Hour, Clock, "20 Nov 01:18:29 UTC"},
		{12 * time.Second, When, "12 s ago"},
		{-40 * time.Second, When, "in 40 s"},
		{5 * time.Minute, When, "at 03:13:29 UTC"},
		{-5 * time.Minute, When, "at 03:23:29 UTC"},
	} {
		if got := Relative(now.Add(-c.ago), now, c.mode); got != c.want {
			t.Errorf("%s %s: got %q, want %q", c.ago, c.mode, got, c.want)
		}
	}
	if got := Relative(time.Time{}, now, Ago); got != Unknown {
		t.Errorf("zero time: %q", got)
	}
}

func TestFormat_PrettyJSONKeepsNumbersAndOrderAndMarksKeys(t *testing.T) {
	t.Parallel()
	doc := prettyJSON([]byte(`{"b":12345678901234567890,"a":["x: \"y\"",1.50,{}]}`), false)
	want := "{\n  \"b\": 12345678901234567890,\n  \"a\": [\n    \"x: \\\"y\\\"\",\n    1.50,\n    {}\n  ]\n}"
	var keys []string
	for _, s := range doc.spans {
		if s.class == "jk" {
			keys = append(keys, s.text)
		}
	}
	if !doc.valid || doc.text() != want || strings.Join(keys, " ") != `"b" "a"` {
		t.Errorf("got %s, keys %q", doc.text(), keys)
	}
	for _, raw := range []string{"", "nope", `{"a":`, "\xff", `"open`} {
		if prettyJSON([]byte(raw), false).valid {
			t.Errorf("%q passed for JSON", raw)
		}
	}
}

func (p pretty) text() string {
	var joined strings.Builder
	for _, s := range p.spans {
		joined.WriteString(s.text)
	}
	return joined.String()
}

func TestFormat_PrettyJSONShowsWhatIsEscapedWithoutNeed(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]string{
		`"a\u0026b \u003ci\u003E"`: `"a&b <i>"`, `"caf\u00e9 \u00C9"`: `"café É"`, `"https:\/\/x"`: `"https://x"`,
		`"\ud83c\udf89\uD83C\uDF75"`: `"🎉🍵"`, `"\u0022\u005c\\u0041\n\u000a"`: `"\u0022\u005c\\u0041\n\u000a"`,
		`"\u202e\u2028\u0000\u009b\ufeff"`: `"\u202e\u2028\u0000\u009b\ufeff"`, `"\ud83c \udf89\ud83c"`: `"\ud83c \udf89\ud83c"`,
		`"\ud83c\u0041"`: `"\ud83cA"`,
	} {
		if got := prettyJSON([]byte(raw), false).text(); got != want {
			t.Errorf("%s is shown as %s, want %s", raw, got, want)
		}
	}
	if got := prettyJSON([]byte(`"x\u00`), true).text(); got != `"x\u00` {
		t.Errorf("a document that was cut within an escape is shown as %s", got)
	}
}

func TestFormat_TheBeginningOfALargeDocumentIsIndentedToo(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]string{
		`{"a":[1,{}, [] ],"b":"x: \"`: "{\n  \"a\": [\n    1,\n    {},\n    []\n  ],\n  \"b\": \"x: \\\"", `{"a":tr`: "{\n  \"a\": tr",
		`not, JSON: {"a":1`: `not, JSON: {"a":1`, `{"a":1} {"b`: "{\n  \"a\": 1\n}{\n  \"b", `"caf\u00e9 \u00`: `"café \u00`,
	} {
		if got := prettyJSON([]byte(raw), true).text(); got != want {
			t.Errorf("%s is shown as %s, want %s", raw, got, want)
		}
	}
}

// What a page shows of a document is bounded, as text and as markup.
func TestFormat_PrettyJSONIsBounded(t *testing.T) {
	t.Parallel()
	fill := func(s string) string { return strings.Repeat(s, (jsonShown-200)/len(s)) }
	for name, c := range map[string]struct {
		raw string
		cut bool
	}{
		"deep": {strings.Repeat("[", 1000) + strings.Repeat("]", 1000), false}, "many": {"[" + strings.Repeat("1,", 500_000) + "1]", true},
		"long": {`"` + strings.Repeat("x", 1<<20) + `"`, true}, "wide": {"[" + fill("[],") + "1]", false},
		"numbers": {"[" + fill("1,") + "1]", false}, "keys": {"{" + fill(`"k":1,`) + `"k":1}`, false},
		"nested": {strings.Repeat("[", jsonDepth) + fill("1,") + "1" + strings.Repeat("]", jsonDepth), false},
		"quotes": {`"` + fill(`\"`) + `"`, false}, "less": {`"` + fill("<") + `"`, false},
		"no JSON": {strings.Repeat("\xff&", 1<<20), true},
	} {
		doc := prettyJSON([]byte(c.raw), false)
		var b strings.Builder
		if err := jsonText(doc.spans).Render(t.Context(), &b); err != nil {
			t.Fatal(err)
		}
		if !doc.valid || doc.cut != c.cut || b.Len() > 100_000 || len(doc.spans) > jsonSpans {
			t.Errorf("%s: valid %t, cut %t, %d spans, %d bytes", name, doc.valid, doc.cut, len(doc.spans), b.Len())
		}
	}
}

func TestFormat_PathsBreakAtGaps(t *testing.T) {
	t.Parallel()
	nan := math.NaN()
	for _, c := range []struct {
		y    []float64
		want string
	}{
		{nil, ""},
		{[]float64{nan, nan}, ""},
		{[]float64{0, 1, 2}, "M0 10l50 -5l50 -5"},
		{[]float64{1, 1, 1}, "M0 5h100"},
		{[]float64{0, nan, 2}, "M0 10h.01M100 0h.01"},
		{[]float64{-1, 1, 9}, "M50 5l50 -5"}, // a negative is unknown, too much is clipped
	} {
		if got := path(func(i int) float64 { return float64(i) * 100 / float64(max(len(c.y)-1, 1)) }, c.y, 2, 10, false); got != c.want {
			t.Errorf("%v: got %q, want %q", c.y, got, c.want)
		}
	}
}

func TestChart_ItsLabelsAreRoundAndFit(t *testing.T) {
	t.Parallel()
	const noon = 1_700_049_600 // 15 Nov 2023 12:00 UTC
	for _, c := range []struct {
		rule     string
		from, to int64
		want     string
	}{
		{"fifteen minutes", noon, noon + 900, "12:05 12:10"},
		{"a minute has seconds", noon, noon + 60, "12:00:30"},
		{"none is cut off at an edge", noon + 290, noon + 910, "12:10"},
		{"midnight is a day", noon - 6*3600, noon + 18*3600, "12:00 18:00 16 Nov"},
		{"days", noon, noon + 7*day, "17 Nov 19 Nov 21 Nov"},
		{"three months", noon, noon + 90*day, "1 Dec 19 Dec 6 Jan 24 Jan"},
		{"a single point", noon, noon, ""},
	} {
		var got []string
		for _, tick := range (ChartsProps{From: c.from, To: c.to}).ticks() {
			got = append(got, tick.label)
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s: got %q, want %q", c.rule, strings.Join(got, " "), c.want)
		}
	}
}

func TestChart_TheMiddleOfACountIsWhole(t *testing.T) {
	t.Parallel()
	for n := range 3000 {
		p := ChartProps{Series: []ChartSeries{{Y: []float64{float64(n)}}}}
		if top := p.top(); top < float64(n) || math.Mod(top, 2) != 0 || n > 2 && top > 2*float64(n) {
			t.Fatalf("the top of a chart of %d is %v", n, top)
		}
	}
}
