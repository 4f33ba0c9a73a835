package jobs_test

import (
	"encoding/base64"
	"encoding/json"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/warrenjobs/warren/jobs"
)

func TestATimeIsRFC3339OrAWaitFromNow(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	for s, want := range map[string]time.Time{
		"":                          {},
		"+10m":                      now.Add(10 * time.Minute),
		"+1h30m":                    now.Add(90 * time.Minute),
		"+0s":                       now,
		"2026-01-31T15:04:05Z":      time.Date(2026, 1, 31, 15, 4, 5, 0, time.UTC),
		"2026-01-31T15:04:05+02:00": time.Date(2026, 1, 31, 13, 4, 5, 0, time.UTC),
		"2026-01-31T15:04:05.25Z":   time.Date(2026, 1, 31, 15, 4, 5, 250e6, time.UTC),
	} {
		got, err := jobs.ParseTime(s, now)
		require.NoError(t, err, s)
		require.True(t, want.Equal(got), "%s: %s", s, got)
	}
	for _, s := range []string{"+", "+10", "+-1m", "10m", "-1m", "tomorrow", "2026-02-30T00:00:00Z", "2026-01-31", "2026-01-31 15:04:05",
		"\x00"} {
		_, err := jobs.ParseTime(s, now)
		require.Error(t, err, s)
	}
}

func TestACursorComesBackAsItWas(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		c := jobs.Cursor{Key: rapid.StringN(1, -1, 1000).Draw(t, "key"), Back: rapid.Bool().Draw(t, "back"), Inclusive: rapid.Bool().Draw(t,
			"inclusive")}
		got, err := jobs.ParseCursor(c.String())
		require.NoError(t, err)
		require.Equal(t, c, got)
	})
}

func TestNothingElseIsACursor(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.OneOf(rapid.String(), rapid.Map(rapid.SliceOfN(rapid.Byte(), 0, 20), base64.RawURLEncoding.EncodeToString)).Draw(t, "s")
		c, err := jobs.ParseCursor(s)
		var bad jobs.FieldErrors
		if err != nil {
			require.ErrorAs(t, err, &bad)
			require.Equal(t, "cursor", bad[0].Field)
			return
		}
		again, err := jobs.ParseCursor(c.String())
		require.NoError(t, err)
		require.Equal(t, c, again)
	})
}

// order is a kind with a field of each type.
type order struct {
	Number int      `json:"number" jsonschema:"minimum=1,maximum=100"`
	Name   string   `json:"name" jsonschema:"minLength=1"`
	Price  float64  `json:"price,omitempty" jsonschema:"minimum=0"`
	Rush   bool     `json:"rush,omitempty"`
	Lines  []string `json:"lines,omitempty"`
	To     *struct {
		City string `json:"city"`
	} `json:"to,omitempty"`
	Size string `json:"size,omitempty" jsonschema:"enum=s,enum=m"`
}

func (order) Kind() string { return "order" }

func orders() *jobs.Registry {
	r, err := jobs.NewRegistry(jobs.Describe[order]())
	if err != nil {
		panic(err)
	}
	return r
}

func TestWrongArgsAreNamedByField(t *testing.T) {
	t.Parallel()
	r := orders()
	for args, fields := range map[string][]string{
		`{"number":1,"name":"a"}`:         nil,
		`{"number":1.0,"name":"a"}`:       nil,
		``:                                {"args.number", "args.name"},
		`{}`:                              {"args.number", "args.name"},
		`{"number":1}`:                    {"args.name"},
		`{"number":1,"name":""}`:          {"args.name"},
		`{"number":"1","name":"a"}`:       {"args.number"},
		`{"number":0,"name":"a"}`:         {"args.number"},
		`{"number":1.5,"name":"a"}`:       {"args.number"},
		`{"number":1e9999999,"name":"a"}`: {"args.number"},
		`{"number":1,"name":"a","price":1e9999999}`:         {"args.price"},
		`{"number":1,"name":"a","more":1}`:                  {"args.more"},
		`{"number":1,"name":"a","lines":["a",2]}`:           {"args.lines.1"},
		`{"number":1,"name":"a","to":{}}`:                   {"args.to.city"},
		`{"number":1,"name":"a","to":{"city":"x","zip":1}}`: {"args.to.zip"},
		`{"number":1,"name":"a","size":"xl"}`:               {"args.size"},
		`{"number":1,"name":"a","rush":null}`:               {"args.rush"},
		`null`:                                              {"args"},
		`[]`:                                                {"args"},
		`{`:                                                 {"args"},
		`{} {}`:                                             {"args"},
	} {
		var bad jobs.FieldErrors
		if err := r.Check("order", json.RawMessage(args)); err != nil {
			require.ErrorAs(t, err, &bad)
		}
		var named []string
		for _, e := range bad {
			require.NotEmpty(t, e.Message)
			named = append(named, e.Field)
		}
		require.ElementsMatch(t, fields, named, "%s: %v", args, bad)
	}
}

func TestNoArgsBreakTheCheck(t *testing.T) {
	t.Parallel()
	r := orders()
	rapid.Check(t, func(t *rapid.T) {
		number := rapid.OneOf(rapid.StringMatching(`-?[0-9]{1,20}(\.[0-9]{1,9})?([eE][+-]?[0-9]{1,12})?`), rapid.StringMatching(`"[a-z]*"`),
			rapid.SampledFrom([]string{"null", "[]", "{}", "true"}))
		args := `{"number":` + number.Draw(t, "number") + `,"price":` + number.Draw(t, "price") + `,"name":` + number.Draw(t, "name") + `}`
		_ = r.Check("order", json.RawMessage(args))
		_ = r.Check("order", rapid.SliceOf(rapid.Byte()).Draw(t, "garbage"))
	})
}

func TestAllThatIsWrongWithANewJobIsSaidAtOnce(t *testing.T) {
	t.Parallel()
	r := orders()
	job := jobs.NewJob{Kind: "order", Queue: "a b", MaxAttempts: -1, Args: json.RawMessage(`{"name":1}`)}
	var bad jobs.FieldErrors
	require.ErrorAs(t, r.Prepare(&job), &bad)
	var fields []string
	for _, e := range bad {
		fields = append(fields, e.Field)
	}
	require.ElementsMatch(t, []string{"queue", "max_attempts", "args.number", "args.name"}, fields)
}

func TestAnUnknownKindNamesTheKnownOnes(t *testing.T) {
	t.Parallel()
	job := jobs.NewJob{Kind: "ordre"}
	var bad jobs.FieldErrors
	require.ErrorAs(t, orders().Prepare(&job), &bad)
	require.Equal(t, "kind", bad[0].Field)
	require.Contains(t, bad[0].Message, "order")
}

func TestNewRegistry_NamesEachKindThatIsNotValidOrGivenTwice(t *testing.T) {
	t.Parallel()
	_, err := jobs.NewRegistry(jobs.Describe[order](), jobs.Describe[order](), jobs.Describe[misnamed]())
	require.ErrorContains(t, err, `the kind "order" is given twice`)
	require.ErrorContains(t, err, `"Mis named" is not a valid kind: lower-case letters`)
}

type misnamed struct{}

func (misnamed) Kind() string { return "Mis named" }

func TestRegistry_FillsAKindsDefaultsWhereAJobSaysNothing(t *testing.T) {
	t.Parallel()
	r, err := jobs.NewRegistry(jobs.Describe[count](jobs.OnQueue("numbers"), jobs.MaxAttempts(2), jobs.Timeout(time.Minute),
		jobs.Tags("n")))
	require.NoError(t, err)
	open := jobs.New(count{N: 2})
	set := jobs.New(count{N: 2}, jobs.OnQueue("other"), jobs.MaxAttempts(7), jobs.Timeout(time.Second), jobs.Tags("mine"))
	require.NoError(t, r.Prepare(&open))
	require.NoError(t, r.Prepare(&set))
	require.Equal(t, []any{"numbers", 2, time.Minute, []string{"n"}}, []any{open.Queue, open.MaxAttempts, open.Timeout, open.Tags})
	require.Equal(t, []any{"other", 7, time.Second, []string{"mine"}}, []any{set.Queue, set.MaxAttempts, set.Timeout, set.Tags})
}

func TestAKindDescribesItsForm(t *testing.T) {
	t.Parallel()
	k := orders().Lookup("order")
	require.True(t, json.Valid(k.Schema))
	types := map[string]string{}
	for _, f := range k.Fields {
		types[f.Name] = f.Type
	}
	require.Equal(t, map[string]string{"number": "integer", "name": "string", "price": "number", "rush": "boolean", "lines": "array",
		"to": "object", "size": "string"}, types)
	require.True(t, k.Fields[0].Required)
	require.Equal(t, []string{"s", "m"}, k.Fields[6].Enum)
}

func TestDefaultsAreFilledInOnce(t *testing.T) {
	t.Parallel()
	job := jobs.NewJob{Kind: "work"}
	require.NoError(t, job.Prepare())
	require.NotEqual(t, uuid.Nil, job.ID)
	require.Equal(t, "default", job.Queue)
	require.Equal(t, jobs.MaxAttemptsDefault, job.MaxAttempts)
	require.Equal(t, "{}", string(job.Args))
	once := job
	require.NoError(t, job.Prepare())
	require.Equal(t, once, job)
}

func TestADurationIsWrittenForPeople(t *testing.T) {
	t.Parallel()
	raw, err := json.Marshal(jobs.Duration(90 * time.Second))
	require.NoError(t, err)
	require.Equal(t, `"1m30s"`, string(raw))
	var d jobs.Duration
	require.NoError(t, json.Unmarshal(raw, &d))
	require.Equal(t, jobs.Duration(90*time.Second), d)
	require.Error(t, json.Unmarshal([]byte(`"soon"`), &d))
	require.Error(t, json.Unmarshal([]byte(`5`), &d))
}

// count is a kind with defaults.
type count struct {
	N int `json:"n"`
}

func (count) Kind() string { return "count" }
