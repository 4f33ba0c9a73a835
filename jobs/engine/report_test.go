package engine_test

import (
	"bytes"
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
)

// reportSchema is the schema that docs/protocol.md links.
func reportSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	schema, err := jsonschema.NewCompiler().Compile("../../docs/report.schema.json")
	require.NoError(t, err)
	return schema
}

// agree requires that schema and parser say the same of a report, and returns whether it is valid.
func agree(t *testing.T, schema *jsonschema.Schema, kind, body string) bool {
	t.Helper()
	doc := map[string]any{"type": kind}
	if body != "" {
		value, err := jsonschema.UnmarshalJSON(strings.NewReader(body))
		require.NoError(t, err)
		doc["body"] = value
	}
	invalid := schema.Validate(doc)
	_, err := engine.ParseReport(engine.Delivery{Type: kind, CorrelationID: uuid.NewString() + ".1", Body: []byte(body)})
	require.Equal(t, invalid == nil, err == nil, "%s %s: the schema says %v, the parser %v", kind, body, invalid, err)
	return err == nil
}

func TestParseReport_AgreesWithTheSchemaOfTheDocs(t *testing.T) {
	t.Parallel()
	schema := reportSchema(t)
	page, err := os.ReadFile("../../docs/protocol.md")
	require.NoError(t, err)
	examples := regexp.MustCompile("(?m)^```\ntype: (\\w+)\nbody: (.*)\n```$").FindAllSubmatch(page, -1)
	require.Len(t, examples, 4)
	for _, e := range examples {
		require.True(t, agree(t, schema, string(e[1]), string(e[2])), "%s", e[0])
	}
	for _, valid := range [][2]string{{"started", ""}, {"started", "{}"}, {"completed", ""},
		{"completed", `{"output":null,"progress":null}`},
		{"completed", `{"output":[1,{"a":"b"}],"new field":1}`}, {"progress", `{"progress":{"done":0,"total":0.5}}`},
		{"failed", `{"error":"x","progress":{"done":1,"total":2}}`}} {
		require.True(t, agree(t, schema, valid[0], valid[1]), valid)
	}
	for _, wrong := range [][2]string{{"done", "{}"}, {"", "{}"}, {"started", `[]`}, {"started", `7`}, {"started", `{"worker":1}`},
		{"progress", ""}, {"progress", "{}"}, {"progress", `{"progress":null}`}, {"progress", `{"progress":{"done":1}}`},
		{"progress", `{"progress":{"done":-1,"total":2}}`}, {"progress", `{"progress":{"done":1,"total":0}}`},
		{"completed", `{"progress":{"done":"1","total":2}}`}, {"failed", ""}, {"failed", "{}"}, {"failed", `{"error":" "}`},
		{"failed", `{"error":{"message":"x"}}`}, {"failed", `{"error":"x","permanent":"yes"}`}, {"failed", `{"error":"x","stack":["a"]}`}} {
		require.False(t, agree(t, schema, wrong[0], wrong[1]), wrong)
	}
}

func TestParseReport_TakesAnyBytes(t *testing.T) {
	t.Parallel()
	for body, worker := range map[string]string{"": "a worker of another program", `{}`: "a worker of another program",
		`{"worker":"` + strings.Repeat("ä", 500) + `"}`: strings.Repeat("ä", 100), `{"worker":"w","unknown":[1]}`: "w"} {
		r, err := engine.ParseReport(engine.Delivery{Type: "started", CorrelationID: uuid.NewString() + ".7", Body: []byte(body)})
		require.NoError(t, err)
		require.Equal(t, []any{worker, 7}, []any{r.Worker, r.Key.Dispatch})
	}
	r, err := engine.ParseReport(engine.Delivery{Type: "progress", CorrelationID: uuid.NewString() + ".1",
		Body: json.RawMessage(`{"progress":{"done":12,"total":10,"message":"almost"}}`)})
	require.NoError(t, err)
	require.Equal(t, jobs.Progress{Done: 1, Note: "almost"}, *r.Progress)
	for _, id := range []string{"", "x", uuid.NewString(), uuid.NewString() + ".", uuid.NewString() + ".x",
		uuid.NewString() + ".99999999999",
		uuid.Nil.String() + ".1", string(bytes.Repeat([]byte{0xff}, 300))} {
		_, err := engine.ParseReport(engine.Delivery{Type: "started", CorrelationID: id})
		require.ErrorContains(t, err, "correlation_id", id)
	}
}

func TestParseReportWithin_TakesWhatPeopleWrite(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{"": "1h", "90m": "1h30m", "off": "0s", "720h": "720h", "1s": "1s", "24h30s": "24h0m30s"} {
		got, err := engine.ParseReportWithin(text)
		require.NoError(t, err)
		require.Equal(t, want, engine.DurationText(time.Duration(got)), text)
	}
	for _, text := range []string{"1", "-1h", "0s", "0", "999ms", "721h", "soon", "1 h"} {
		_, err := engine.ParseReportWithin(text)
		require.ErrorAs(t, err, &jobs.FieldErrors{}, text)
	}
}
