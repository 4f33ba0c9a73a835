package rabbit

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs/rabbit/management"
)

// The broker says which policy is in effect for a queue. Its patterns have look-around, possessive
// quantifiers and more that Go's have not.
func TestPolicy_TheOneThatTheBrokerAppliesIsJudged(t *testing.T) {
	t.Parallel()
	const ours = `{"dead-letter-exchange":"warren.dead","dead-letter-strategy":"at-least-once","delivery-limit":100,` +
		`"overflow":"reject-publish"}`
	policies := func(pattern string) string {
		raw, _ := json.Marshal(pattern)
		return `[{"name":"warren-jobs","pattern":"^warren","priority":0,"definition":` + ours + `},
			{"name":"everything","pattern":` + string(raw) + `,"priority":10,"definition":{"max-length":100000}},
			{"name":"mail","pattern":"mail","priority":5,"definition":{"overflow":"drop-head"}}]`
	}
	const operators = `[{"name":"limits","pattern":"(?<!x)","priority":3,"definition":{"delivery-limit":5}}]`
	queue := func(name, policy, operator, effective string) string {
		return `{"name":"warren.jobs.` + name + `","policy":` + policy + `,"operator_policy":` + operator +
			`,"effective_policy_definition":` + effective + `}`
	}
	well := queue("default", `"warren-jobs"`, `null`, ours)
	limited := strings.Replace(ours, "100", "5", 1)
	type answer struct{ policies, operators, queues string }
	check := func(a answer) (problem, command string) {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body := map[string]string{"/api/policies//": a.policies, "/api/operator-policies//": a.operators,
				"/api/queues//": `{"items":[` + a.queues + `]}`, "/api/whoami": `{"name":"watch","tags":["monitoring"]}`}[r.URL.Path]
			if body == "" {
				w.WriteHeader(http.StatusForbidden)
			}
			_, _ = w.Write([]byte(body))
		}))
		t.Cleanup(srv.Close)
		m, err := management.New(srv.URL)
		require.NoError(t, err)
		note, err := (&Broker{URL: "amqp://localhost", Names: Names{Prefix: "warren"}}).ApplyPolicy(t.Context(), m)
		require.NoError(t, err)
		return note.Problem, note.Command
	}

	for _, pattern := range []string{`^.*`, `^(?!amq\.).*`, `^.*+$`, `^(?>warren).*`, `^warren\.jobs\.default\Z`, `^(?<!x)warren`,
		`(?=.*jobs)`, `(?#any)warren`, `^warren\.jobs\.\w++`, `(a)?(?(1)b|warren)`, `\Gwarren`, ``, `(`} {
		problem, command := check(answer{policies(pattern), `[]`, queue("default", `"everything"`, `null`, `{"max-length":100000}`)})
		require.Contains(t, problem, `Policy "everything" (priority 10) counts for the job queues`, pattern)
		require.Contains(t, problem, "delivery-limit is not set")
		require.Contains(t, command, `--priority 11 --apply-to queues 'warren-jobs' '^warren\.jobs\.'`)
		require.Contains(t, command, `"max-length":100000`)
		problem, _ = check(answer{policies(pattern), `[]`, well})
		require.Empty(t, problem, "a pattern that the broker does not find to match is of no interest")
	}
	for name, c := range map[string]struct {
		answer
		says, command string
	}{
		"no queue yet": {answer{policies("x"), `[]`, ``}, "", ""},
		"no queue, no policy": {answer{`[]`, `[]`, ``},
			"The job queues have no policy; Warren asks for one. The broker account", "--priority 0"},
		"a queue without": {answer{policies("x"), `[]`, queue("default", `null`, `null`, `[]`)},
			"The job queues have no policy", "--priority 0"},
		"nothing told of it": {answer{policies("x"), `[]`, `{"name":"warren.jobs.new"}`}, "", ""},
		"another asks the same": {answer{`[{"name":"team","priority":1,"definition":` + ours + `}]`, `[]`,
			queue("default", `"team"`, `null`, ours)}, "", ""},
		"one queue alone": {answer{policies("x"), `[]`, well + `,` + queue("mail", `"mail"`, `null`, `{"overflow":"drop-head"}`)},
			`Policy "mail" (priority 5) counts for the queue warren.jobs.mail, as`,
			`--priority 6 --apply-to queues 'warren.jobs.mail' '^warren\.jobs\.mail$'`},
		"one queue without": {answer{policies("x"), `[]`, well + `,` + queue("mail", `null`, `null`, `{}`)},
			"The queue warren.jobs.mail has no policy", "'warren.jobs.mail'"},
		"an operator policy": {answer{policies("x"), operators, queue("default", `"warren-jobs"`, `"limits"`, limited)},
			`The operator policy "limits" (priority 3) overrides the policy of the job queues: delivery-limit is 5`,
			"set_operator_policy -p '/' --priority 4"},
		"an operator policy that may not be read": {answer{policies("x"), ``, queue("default", `"warren-jobs"`, `"limits"`, limited)},
			`The operator policy "limits"`, "set_operator_policy"},
		"an operator policy of something else": {answer{policies("x"), `[{"name":"o","definition":{"max-length":9}}]`,
			queue("default", `"warren-jobs"`, `"o"`, ours)}, "", ""},
	} {
		problem, command := check(c.answer)
		if c.says == "" {
			require.Empty(t, problem, name)
			continue
		}
		require.Contains(t, problem, c.says, name)
		require.Contains(t, command, c.command, name)
	}
}
