package handlers

import (
	"maps"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs"
)

func TestNewJob_LikeAnotherIsFilledInWithIt(t *testing.T) {
	t.Parallel()
	kind := &jobs.Kind{Fields: []jobs.Field{{Name: "to", Type: "string"}, {Name: "cents", Type: "integer"},
		{Name: "urgent", Type: "boolean"}, {Name: "headers", Type: "object"}}}
	id := uuid.New()
	for _, c := range []struct {
		args   string
		want   map[string]string
		asJSON bool
	}{
		{`{"to":"a \"b\"\nc","cents":12,"urgent":true,"headers":{"x":1}}`,
			map[string]string{"args.to": "a \"b\"\nc", "args.cents": "12", "args.urgent": "true", "args.headers": `{"x":1}`}, false},
		{`{}`, map[string]string{}, false},
		{`{"to":null}`, map[string]string{}, false},
		{`{"to":7}`, map[string]string{"args.to": "7"}, false},
		{`{"to":"a","more":1}`, map[string]string{}, true},
		{`[1]`, map[string]string{}, true},
		{`"hello"`, map[string]string{}, true},
	} {
		d := jobs.Detail{Job: jobs.Job{ID: id, Args: []byte(c.args), Queue: "mail", Tags: []string{"a", "b"}, Attempt: 3, MaxAttempts: 5,
			Timeout: jobs.Duration(time.Minute), UniqueKey: new(string), Uncounted: 1},
			Attempts: []jobs.Attempt{{Outcome: jobs.AttemptCrashed}}}
		form := formOfJob(d, kind)
		values := firstValues(form.Values)
		maps.DeleteFunc(values, func(_, value string) bool { return value == "" })
		for name, value := range map[string]string{"args": indented([]byte(c.args)), "queue": "mail", "tags": "a, b", "max_attempts": "4",
			"timeout": "1m0s", "retry_of": id.String()} {
			c.want[name] = value
		}
		require.Equal(t, c.want, values, c.args)
		require.Equal(t, c.asJSON, form.asJSON, c.args)
	}
}
