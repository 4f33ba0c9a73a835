package rabbit

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Teams have an AMQP_URL already, as clients in Erlang, Ruby, Python, PHP, Node, Rust or Java take it.
func TestParams_OfAnAMQPURLWorkOrAreRefusedByTheirNames(t *testing.T) {
	t.Parallel()
	const works = ""
	for param, says := range map[string]string{
		"heartbeat=10": works, "heartbeat=0": works, "channel_max=16": works, "auth_mechanism=EXTERNAL&auth_mechanism=plain": works,
		"cacertfile=/ca.pem&certfile=/c.pem&keyfile=/k.pem&server_name_indication=mq": works,
		"verify=verify_peer": works, "verify=verify_peer&fail_if_no_peer_cert=true": works, "": works,
		"heartbeat=": "a whole number", "heartbeat=10s": "a whole number", "heartbeat=-1": "a whole number",
		"heartbeat=1.5":   "a whole number",
		"heartbeat=70000": "65535", "channel_max=many": "a whole number", "heartbeat=10&heartbeat=x": "a whole number",
		"auth_mechanism=SCRAM": "plain, amqplain or external", "auth_mechanism=": "plain, amqplain or external",
		"verify=verify_none": "always checks certificates", "ssl_verify=0": "always checks certificates", "no_verify_ssl=1": "cacertfile=",
		"ssl=true": "amqps://", "ssl_options=%7B%7D": "amqps://", "cafile=/ca.pem": "cacertfile=", "ssl_cert=/c.pem": "certfile=",
		"ssl_key=/k.pem": "keyfile=", "sni=mq": "server_name_indication=", "login_method=PLAIN": "auth_mechanism=",
		"vhost=jobs": "host:5672/vhost", "password=hunter2": "user:password", "channelMax=16": "channel_max=",
		"connection_timeout=30000": "at most 5 s", "blocked_connection_timeout=300": "leave it out", "retry_delay=2": "by itself",
		"prefetch_count=20": "WARREN_PREFETCH", "connection_name=shop": "after its process", "frameMax=0x1000": "leave it out",
		"hartbeat=10": "or write cacertfile", "Heartbeat=10": "heartbeat or channel_max", "cacertFile=/ca.pem": "or write cacertfile",
	} {
		name, _, _ := strings.Cut(param, "=")
		err := CheckURL("amqps://u:hunter2@h/jobs?" + param)
		if says == works {
			require.NoError(t, err, param)
			continue
		}
		require.ErrorContains(t, err, "AMQP_URL has the parameter "+name+", which ", param)
		require.ErrorContains(t, err, says, param)
		require.NotContains(t, err.Error(), "hunter2", param)
	}
	require.ErrorContains(t, CheckURL("amqp://h,amqp://i?hartbeat=10"), "address 2 of the 2 in AMQP_URL has the parameter hartbeat")
	require.ErrorContains(t, CheckURL("amqp://h?cacertfile=/ca.pem"), "needs TLS: begin the URL with amqps://")
}

// A ? in a password, not encoded, makes a query of what follows it.
func TestParams_OfAnAMQPURLAreNotShownWhereTheyMayBeThePassword(t *testing.T) {
	t.Parallel()
	for _, url := range []string{"amqp://u:1?hunter2@h/jobs", "amqp://u:1?heartbeat=hunter2@h/jobs", "amqp://u:1?a;hunter2",
		"amqp://u:1?%zzhunter2", "amqp://u:1?hunter2!", "amqp://u:1?" + strings.Repeat("hunter2", 9)} {
		err := CheckURL(url)
		require.ErrorContains(t, err, "AMQP_URL", url)
		require.NotContains(t, err.Error(), "hunter2", url)
	}
	require.ErrorContains(t, CheckURL("amqp://u:1?hunter2@h/jobs"), "percent-encoded, such as %2F for /, %3F for ?")
}
