package rabbit

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// foreignParams are parameters of AMQP_URL that other programs' libraries take, and that the AMQP
// library ignores without a word. Names are in lower case, separated by blanks.
var foreignParams = []struct {
	names  string
	fine   string // values that ask for what Warren does anyway; * for all
	advice string
}{
	{names: "fail_if_no_peer_cert", fine: "*"},
	{"verify verify_peer verify_ssl ssl_verify", "verify_peer true 1", "leave it out, as Warren always checks certificates; cacertfile=… " +
		"names a PEM file of other authorities"},
	{names: "no_verify_ssl insecure", advice: "leave it out, as Warren always checks certificates; cacertfile=… names a PEM file " +
		"of other authorities"},
	{names: "ssl tls ssl_on use_ssl ssl_options", advice: "begin the URL with amqps://; cacertfile=…, certfile=… and keyfile=… name " +
		"PEM files"},
	{names: "cafile ca_file cacert ca_certs capath cadata ssl_cacert", advice: "write cacertfile=…, of a PEM file"},
	{names: "cert ssl_cert", advice: "write certfile=…, of a PEM file"},
	{names: "key ssl_key", advice: "write keyfile=…, of a PEM file"},
	{names: "server_name servername sni", advice: "write server_name_indication=…"},
	{names: "auth auth_method login_method sasl", advice: "write auth_mechanism=plain, amqplain or external"},
	{names: "user username login password host port vhost", advice: "write amqp://user:password@host:5672/vhost"},
	{names: "channelmax", advice: "write channel_max=…"},
	{names: "connection_timeout connect_timeout socket_timeout stack_timeout", advice: "leave it out, as Warren waits at most 5 s for an " +
		"address"},
	{names: "read_timeout write_timeout rpc_timeout confirm_timeout blocked_connection_timeout", advice: "leave it out, as Warren bounds " +
		"what it waits for itself"},
	{names: "connection_attempts retry_delay reconnect", advice: "leave it out, as Warren connects again by itself"},
	{names: "prefetch prefetch_count", advice: "leave it out, and set WARREN_PREFETCH"},
	{names: "name connection_name client_properties", advice: "leave it out, as Warren names each connection after its process"},
	{names: "frame_max framemax locale tcp_options lazy persisted auto_setup", advice: "leave it out"},
}

// checkParams returns an error, whose text goes on after the name of the address, if a parameter of
// an AMQP URL would have no effect. It has no values in it, as they may be parts of a password.
func checkParams(address string) error {
	address, _, _ = strings.Cut(address, "#")
	_, query, _ := strings.Cut(address, "?")
	given, err := url.ParseQuery(query)
	if strings.Contains(query, "@") || err != nil {
		return notAMQP(errEncode)
	}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		for _, value := range given[name] {
			if wrong := checkParam(name, value, strings.HasPrefix(strings.ToLower(address), "amqps:")); wrong != "" {
				return fmt.Errorf("has %s, which %s", shownParam(name), wrong)
			}
		}
	}
	return nil
}

// checkParam returns what is wrong with a parameter; "" if nothing is.
func checkParam(name, value string, encrypted bool) string {
	switch name {
	case "cacertfile", "certfile", "keyfile", "server_name_indication":
		if !encrypted {
			return "needs TLS: begin the URL with amqps://"
		}
		return ""
	case "heartbeat", "channel_max":
		if _, err := strconv.ParseUint(value, 10, 16); err != nil {
			return "must be a whole number from 0 to 65535"
		}
		return ""
	case "auth_mechanism":
		if !slices.Contains([]string{"plain", "amqplain", "external"}, strings.ToLower(value)) {
			return "must be plain, amqplain or external"
		}
		return ""
	}
	const nothing = "means nothing here: "
	for _, p := range foreignParams {
		if !slices.Contains(strings.Fields(p.names), strings.ToLower(name)) {
			continue
		}
		if p.fine == "*" || slices.Contains(strings.Fields(p.fine), strings.ToLower(value)) {
			return ""
		}
		return nothing + p.advice
	}
	return nothing + "leave it out, or write cacertfile, certfile, keyfile, server_name_indication, auth_mechanism, heartbeat or " +
		"channel_max"
}

// shownParam names a parameter for an error, unless its name may be a part of a password.
func shownParam(name string) string {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	if name == "" || len(name) > 40 || strings.Trim(name, letters+"0123456789_-") != "" {
		return "a parameter"
	}
	return "the parameter " + name
}
