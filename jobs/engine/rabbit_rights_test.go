package engine_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/jobs/rabbit"
	"github.com/warrenjobs/warren/jobs/rabbit/management"
)

// account creates a broker account with these tags and permissions in the test's vhost.
func (b *bundle) account(tags, configure, write, read string) (name string) {
	b.t.Helper()
	name = "u-" + uuid.NewString()[:8]
	require.NoError(b.t, b.vhost.Management.PutUser(b.ctx, name, "geheim", tags))
	b.t.Cleanup(func() { _ = b.vhost.Management.DeleteUser(context.WithoutCancel(b.ctx), name) })
	require.NoError(b.t, b.vhost.Management.PutPermissions(b.ctx, b.vhost.Name, name, configure, write, read))
	return name
}

func as(t *testing.T, address, name string) string {
	t.Helper()
	u, err := url.Parse(address)
	require.NoError(t, err)
	u.User = url.UserPassword(name, "geheim")
	return u.String()
}

// documented returns the three patterns that docs/deploy.md gives for the account's permissions.
func documented(t *testing.T, account string) (configure, write, read string) {
	t.Helper()
	text, err := os.ReadFile("../../docs/deploy.md")
	require.NoError(t, err)
	m := regexp.MustCompile(`rabbitmqctl set_permissions -p \S+ ` + account + ` '([^']*)' '([^']*)' '([^']*)'`).FindSubmatch(text)
	require.NotNil(t, m)
	return string(m[1]), string(m[2]), string(m[3])
}

func TestRights_TheDocumentedRightsAreEnough(t *testing.T) {
	b := setup(t)
	configure, write, read := documented(t, "warren")
	b.broker.URL = as(t, b.vhost.URL, b.account("", configure, write, read))
	b.relay()
	b.worker("w")
	b.scheduler()
	id := b.enqueue(jobs.NewJob{Kind: "dots", Args: json.RawMessage(`{"text":"x"}`)})[0]
	b.until(text("the job is completed"), func() bool { return b.job(id).State == jobs.Completed })

	p := b.broker.NewPublisher()
	t.Cleanup(func() { _ = p.Close() })
	receive, err := p.Publish(b.ctx, []engine.Message{{OutboxID: 1, MessageID: uuid.NewString(), Exchange: "tasks",
		RoutingKey: "tasks.event.created", Body: json.RawMessage(`{}`)}}, 5*time.Second, nil)
	require.NoError(t, err)
	receipts, err := receive()
	require.NoError(t, err)
	require.Equal(t, engine.Unroutable, receipts[0].Status, "an event without a subscriber")
	dead, err := b.broker.ConsumeDead(b.ctx)
	require.NoError(t, err)
	require.NoError(t, dead.Close())
}

func TestRights_AMissingRightIsASentenceWithTheCommandAndNoMessageIsBlamed(t *testing.T) {
	b := setup(t)
	name := b.account("", "^$", ".*", ".*")
	b.broker.URL = as(t, b.vhost.URL, name)
	says := "rabbitmqctl set_permissions -p '" + b.vhost.Name + "' '" + name + `' '^(warren\..*|tasks)$'`
	_, err := b.broker.Consume(b.ctx, map[string]int{"default": 1})
	require.ErrorContains(t, err, says)
	p := b.broker.NewPublisher()
	_, err = p.Publish(b.ctx, []engine.Message{{OutboxID: 1, MessageID: "x", RoutingKey: "default", Body: json.RawMessage(`{}`)}},
		time.Second, nil)
	require.ErrorContains(t, err, says)
	require.ErrorIs(t, err, jobs.ErrUnavailable)

	broker := *b.broker
	broker.URL = strings.Replace(b.broker.URL, "geheim", "falsch", 1)
	_, err = broker.Consume(b.ctx, map[string]int{"default": 1})
	require.ErrorContains(t, err, "does not accept the user")
	require.NotContains(t, err.Error(), "falsch")
	broker.URL = b.broker.URL + "-nowhere"
	_, err = broker.Consume(b.ctx, map[string]int{"default": 1})
	require.ErrorContains(t, err, "rabbitmqctl add_vhost")
}

// note applies the policy with an account that has these tags, and returns what keeps it from its effect.
func (b *bundle) note(tags string) engine.PolicyNote {
	b.t.Helper()
	m, err := management.New(as(b.t, b.vhost.ManagementURL, b.account(tags, "^$", "^$", "^$")))
	require.NoError(b.t, err)
	note, err := b.broker.ApplyPolicy(b.ctx, m)
	require.NoError(b.t, err)
	return note
}

// noteSaying is note once it says so; "" is for no problem. What the management API says of queues
// is some moments old.
func (b *bundle) noteSaying(tags, problem string) (note engine.PolicyNote) {
	b.t.Helper()
	m, err := management.New(as(b.t, b.vhost.ManagementURL, b.account(tags, "^$", "^$", "^$")))
	require.NoError(b.t, err)
	b.until(func() string { return fmt.Sprintf("a note with %q, last: %q", problem, note.Problem) }, func() bool {
		note, err = b.broker.ApplyPolicy(b.ctx, m)
		require.NoError(b.t, err)
		return problem == "" && note.Problem == "" || problem != "" && strings.Contains(note.Problem, problem)
	})
	return note
}

// put sets a policy for queues, as somebody else.
func (b *bundle) put(name string, p management.Policy) {
	b.t.Helper()
	p.ApplyTo = "queues"
	require.NoError(b.t, b.vhost.Management.PutPolicy(b.ctx, b.vhost.Name, name, p))
}

// obey runs the command of a note as an administrator would.
func (b *bundle) obey(note engine.PolicyNote) {
	b.t.Helper()
	m := regexp.MustCompile(
		`^rabbitmqctl (set_policy|set_operator_policy) -p '(.*)' --priority (\d+) ` +
			`--apply-to queues '(.*)' '(.*)' '(.*)'$`).
		FindStringSubmatch(note.Command)
	require.NotNil(b.t, m, note.Command)
	require.Equal(b.t, b.vhost.Name, m[2])
	p := management.Policy{ApplyTo: "queues", Pattern: m[5], Definition: json.RawMessage(m[6])}
	require.NoError(b.t, json.Unmarshal([]byte(m[3]), &p.Priority))
	put := b.vhost.Management.PutPolicy
	if m[1] == "set_operator_policy" {
		put = b.vhost.Management.PutOperatorPolicy
	}
	require.NoError(b.t, put(b.ctx, b.vhost.Name, m[4], p))
}

func TestRights_WhatKeepsThePolicyFromItsEffectIsNamedWithTheCommandThatMendsIt(t *testing.T) {
	b := setup(t)
	require.Contains(t, b.note("").Problem, "not known", "without a tag nothing can be seen")

	note := b.note("monitoring")
	require.Contains(t, note.Problem, "may not set policies", "also before there is a queue")
	b.obey(note)
	require.Zero(t, b.note("monitoring"))
	b.topology()

	// A pattern of PCRE, which Go does not know.
	b.put("everything", management.Policy{Pattern: `^(?!amq\.).*`, Priority: 7,
		Definition: json.RawMessage(`{"max-length":100,"delivery-limit":20}`)})
	note = b.noteSaying("policymaker", `Policy "everything" (priority 7)`)
	for _, lacks := range []string{"delivery-limit is 20", "dead-letter-exchange is not set", "overflow is not set"} {
		require.Contains(t, note.Problem, lacks)
	}
	require.Contains(t, note.Command, `"max-length":100`, "what the administrator wanted stays")
	b.obey(note)

	require.NoError(t, b.vhost.Management.PutOperatorPolicy(b.ctx, b.vhost.Name, "limits",
		management.Policy{Pattern: ".*", ApplyTo: "queues", Priority: 3,
			Definition: json.RawMessage(`{"max-length":50,"delivery-limit":5}`)}))
	note = b.noteSaying("policymaker", `operator policy "limits" (priority 3)`) // the higher priority of the other stays
	require.Contains(t, note.Problem, "delivery-limit is 5")
	b.obey(note)
	b.noteSaying("monitoring", "")
}

func TestRights_APolicymakerSetsThePolicyByItself(t *testing.T) {
	b := setup(t)
	require.Zero(t, b.note("policymaker"))
	policies, err := b.vhost.Management.Policies(b.ctx, b.vhost.Name)
	require.NoError(t, err)
	require.Len(t, policies, 1)
	require.Equal(t, "warren-jobs", policies[0].Name)
}

func TestRights_FilesForTLSThatCannotBeUsedAreNamed(t *testing.T) {
	t.Parallel()
	none, err := rabbit.TLS("amqp://localhost", rabbit.Files{})
	require.NoError(t, err)
	require.Nil(t, none)
	text := t.TempDir() + "/text.pem"
	require.NoError(t, os.WriteFile(text, []byte("no certificate"), 0o600))
	for says, f := range map[string]rabbit.Files{
		"AMQP_CA_FILE cannot be read": {CA: "/nowhere"}, "holds no certificate": {CA: text},
		"belong together": {Cert: text}, "cannot be used": {Cert: text, Key: text},
	} {
		_, err := rabbit.TLS("amqps://localhost", f)
		require.ErrorContains(t, err, says)
	}
	_, err = rabbit.TLS("amqps://localhost?cacertfile=/nowhere", rabbit.Files{})
	require.ErrorContains(t, err, "/nowhere", "the library's own parameters are read at start, too")
}
