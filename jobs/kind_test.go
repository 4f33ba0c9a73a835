package jobs_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/warrenjobs/warren/jobs"
)

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

func TestKind_NamesWrongArgsByField(t *testing.T) {
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

func TestKind_NoArgsBreakTheCheck(t *testing.T) {
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

// list has a field of each type that Go writes as null when it is nil.
type list struct {
	Lines []string           `json:"lines"`
	Count map[string]*int    `json:"count"`
	To    *struct{ A []int } `json:"to"`
	Raw   []byte             `json:"raw"`
	IP    net.IP             `json:"ip"`
	Size  *string            `json:"size" jsonschema:"enum=s,enum=m"`
	ID    uuid.UUID          `json:"id"`
	At    *time.Time         `json:"at"`
}

func (list) Kind() string { return "list" }

func TestKind_AcceptsWhateverGoWritesOfItsArgs(t *testing.T) {
	t.Parallel()
	size, at := "m", time.Now()
	for _, args := range []list{
		{},
		{Lines: []string{}, Count: map[string]*int{"a": nil}, To: &struct{ A []int }{}, Raw: []byte("x"), IP: net.IPv4(127, 0, 0, 1),
			Size: &size, ID: uuid.New(), At: &at},
		{IP: net.IPv6loopback},
	} {
		job := jobs.New(args)
		require.NoError(t, jobs.Describe[list]().Check(job.Args), "%s", job.Args)
	}
}

func TestKind_EnforcesFormats(t *testing.T) {
	t.Parallel()
	written := string(jobs.New(list{}).Args)
	for field, wrong := range map[string]string{
		`"id":"00000000-0000-0000-0000-000000000000"`: `"id":"x"`,
		`"at":null`: `"at":"yesterday"`,
	} {
		args := strings.Replace(written, field, wrong, 1)
		require.NotEqual(t, written, args)
		require.Error(t, jobs.Describe[list]().Check(json.RawMessage(args)), args)
	}
}

// The mark of checked args saves a check, and is worth nothing for other args or another schema.
func TestKind_ChecksBeforeARunWhatWasNotCheckedOrHasChanged(t *testing.T) {
	t.Parallel()
	r := orders()
	job := jobs.NewJob{Kind: "order", Args: json.RawMessage(`{"number":1,"name":"a"}`)}
	require.NoError(t, r.Prepare(&job))
	require.NotZero(t, job.Checked)
	wrong := json.RawMessage(`{"number":0,"name":"a"}`)
	order := r.Lookup("order")
	require.NoError(t, order.CheckRun(job.Args, job.Checked))
	require.NoError(t, order.CheckRun(job.Args, 0))
	require.ErrorContains(t, order.CheckRun(wrong, job.Checked), "args.number")
	require.ErrorContains(t, order.CheckRun(wrong, 0), "args.number")
	require.Error(t, jobs.Describe[list]().CheckRun(job.Args, job.Checked), "another schema")
}

type misnamed struct{}

func (misnamed) Kind() string { return "Mis named" }

func TestKind_DescribesItsForm(t *testing.T) {
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

// Whoever submits a job or publishes a message chooses the args: refusing them costs no more than
// in proportion to their size, and names a bounded number of fields.
func TestKind_RefusingArgsCostsMemoryInProportion(t *testing.T) {
	k := jobs.Describe[order]()
	fields := func(n int) string {
		names := make([]string, n)
		for i := range names {
			names[i] = fmt.Sprintf(`"f%d":1`, i)
		}
		return "{" + strings.Join(names, ",") + "}"
	}
	for name, args := range map[string]func(n int) string{
		"unknown fields": fields,
		"wrong items":    func(n int) string { return `{"lines":[` + strings.TrimSuffix(strings.Repeat("1,", n), ",") + `]}` },
		"digits":         func(n int) string { return `{"number":` + strings.Repeat("9", n) + `}` },
		"levels":         func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) },
		"not JSON":       func(n int) string { return strings.Repeat(`{"a":`, n) },
	} {
		cost := func(n int) (bytes float64) {
			raw := json.RawMessage(args(n))
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			err := k.Check(raw)
			runtime.ReadMemStats(&after)
			var wrong jobs.FieldErrors
			require.ErrorAs(t, err, &wrong, name)
			require.LessOrEqual(t, len(wrong), 200, name)
			require.Less(t, len(err.Error()), 10_000, name)
			return float64(after.TotalAlloc - before.TotalAlloc)
		}
		small, large := cost(2_000), cost(32_000)
		require.Less(t, large, 30*small+1<<20, "%s: 16 times as many cost %.0f and %.0f bytes", name, small, large)
	}
}

// JSON Schema takes 1e2 and 100.0 for whole numbers, and so do handlers.
func TestKind_WholeNumbersReachGoIntegersHoweverTheyAreWritten(t *testing.T) {
	t.Parallel()
	var got order
	k := jobs.Handle(func(_ context.Context, _ *jobs.Run, args order) error { got = args; return nil })
	for raw, want := range map[string]int{`1e2`: 100, `100.0`: 100, `1.0E1`: 10, `10e-1`: 1, `7`: 7} {
		args := json.RawMessage(`{"number":` + raw + `,"name":"1e2 and \"100.0\"","lines":["-1.0"]}`)
		require.NoError(t, k.Check(args), raw)
		require.NoError(t, k.Work(t.Context(), &jobs.Run{Args: args}), raw)
		require.Equal(t, want, got.Number, raw)
		require.Equal(t, `1e2 and "100.0"`, got.Name)
	}
	for _, raw := range []string{`1.5`, `1e-400000000`, `1e400000000`, `1e30`, `"x"`} {
		err := k.Work(t.Context(), &jobs.Run{Args: json.RawMessage(`{"number":` + raw + `}`)})
		require.Error(t, err, raw)
		require.True(t, jobs.IsPermanent(err), "no retry makes them readable: %s", raw)
	}
}

func TestKind_ArgsThatFitTheSchemaAndNotTheGoTypeAreRefusedAtSubmission(t *testing.T) {
	t.Parallel()
	k := jobs.Describe[sizes]()
	require.NoError(t, k.Check(json.RawMessage(`{"below":1e5,"list":[200.0],"small":1}`)))
	for args, want := range map[string]string{
		`{"below":1e30}`: "args.below: does not take a number 1e30", `{"list":[1e19]}`: "args.list: does not take a number 1e19",
		`{"small":300}`: "args.small: does not take a number 300", `{"below":"x","below":1}`: "args.below: does not take a string",
		`{"at":"2026-06-30T23:59:60Z"}`: "args: parsing time",
	} {
		require.ErrorContains(t, k.Check(json.RawMessage(args)), want, args)
	}
}

type sizes struct {
	Below int64     `json:"below,omitempty"`
	List  []int     `json:"list,omitempty"`
	Small int8      `json:"small,omitempty"`
	At    time.Time `json:"at,omitzero"`
}

func (sizes) Kind() string { return "sizes" }

// FuzzCheck checks that args which are valid can be read by the handler, and that errors name fields.
func FuzzCheck(f *testing.F) {
	for _, args := range []string{`{"number":1,"name":"a"}`, `{"number":1e0,"name":"a","price":-0.0}`,
		`{"number":"x","number":1,"name":"a"}`, `{"NUMBER":1,"name":"a"}`,
		`{"number":1,"name":"\ud800","lines":["\u0000"],"to":{"city":""}}`, `{"number":1e2,"name":"100.0","to":null}`,
		`{"number":100.0,"name":"a","lines":null}`,
		`{"number":1e9999999}`, `[[[[`, `{"to":{"city":1,"zip":2},"size":"xl"}`, "{\"name\":\"\xff\"}", `{} {}`, ``, `null`} {
		f.Add([]byte(args))
	}
	k := jobs.Handle(func(_ context.Context, _ *jobs.Run, got order) error {
		if got.Number < 1 || got.Number > 100 || got.Name == "" || got.Price < 0 {
			return errors.New("the handler got what the schema refuses")
		}
		return nil
	})
	f.Fuzz(func(t *testing.T, args []byte) {
		err := k.Check(args)
		if err == nil {
			require.NoError(t, k.Work(t.Context(), &jobs.Run{Args: args}), "%s", args)
			return
		}
		var wrong jobs.FieldErrors
		require.ErrorAs(t, err, &wrong)
		require.Less(t, len(err.Error()), 10_000+20*len(args))
		for _, e := range wrong {
			require.True(t, strings.HasPrefix(e.Field+".", "args."), e.Field)
			require.NotEmpty(t, e.Message)
		}
	})
}
