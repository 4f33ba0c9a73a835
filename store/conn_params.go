package store

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// foreignParams are parameters of DATABASE_URL that libpq and other programs' libraries take, and
// that neither pgx nor the server knows. Names are in lower case, separated by blanks.
var foreignParams = []struct {
	names  string
	fine   string // values that ask for what Warren does anyway; * for all
	advice string
}{
	{names: "keepalives keepalives_idle keepalives_interval keepalives_count tcpkeepalive uselibpqcompat", fine: "*"},
	{"client_encoding encoding charset", "utf8 utf-8 unicode auto", "leave it out, as Warren's text is UTF-8"},
	{"gssencmode", "disable allow prefer", "leave it out, as Warren encrypts with TLS (sslmode)"},
	{"sslcompression", "0", "leave it out, as TLS does not compress"},
	{"ssl_min_protocol_version", "tlsv1 tlsv1.1 tlsv1.2", "leave it out, as Warren takes TLS 1.2 and newer"},
	{"ssl_max_protocol_version", "tlsv1.3", "leave it out, as Warren takes TLS 1.2 and newer"},
	{"load_balance_hosts loadbalancehosts", "disable false", "leave it out, as Warren talks to the server that takes writes"},
	{"pgbouncer prepared_statements preparethreshold prepare statement_cache_mode statement_cache_size prepared_statement_cache_size " +
		"binary_parameters prefer_simple_protocol statement_limit", "",
		"leave it out; a pooler must have pool_mode = session, where prepared statements work"},
	{names: "schema currentschema schema_search_path", advice: "leave it out, as Warren's tables are in a schema of their own, warren; " +
		"for statements of your own write search_path=…"},
	{names: "connection_limit pool pool_size max max_connections maxpoolsize maximumpoolsize", advice: "write pool_max_conns=…"},
	{names: "conn_max_age max_connection_lifetime max_lifetime", advice: "write pool_max_conn_lifetime=10m"},
	{names: "max_idle_connection_lifetime idle_timeout", advice: "write pool_max_conn_idle_time=10m"},
	{names: "connecttimeout logintimeout connection_timeout", advice: "write connect_timeout=…, in seconds"},
	{names: "socket_timeout sockettimeout pool_timeout checkout_timeout command_timeout query_timeout",
		advice: "leave it out, as Warren bounds its statements itself; statement_timeout=… bounds all of them, in milliseconds"},
	{names: "fallback_application_name applicationname", advice: "write application_name=…"},
	{names: "targetservertype", advice: "write target_session_attrs=read-write, or leave it out"},
	{names: "hostaddr", advice: "write the address as the host"},
	{names: "ssl sslaccept requiressl ssl_require", advice: "write sslmode=disable, require, verify-ca or verify-full"},
	{names: "sslidentity sslfactory sslcapath", advice: "write sslcert=…, sslkey=… and sslrootcert=…, of PEM files"},
	{names: "sslcrl sslcrldir", advice: "leave it out, as Warren reads no revocation lists"},
	{names: "requirepeer conn_health_checks single_use_connections advisory_locks rewritebatchedinserts", advice: "leave it out"},
}

// checkParams removes the parameters that ask for what Warren does anyway, and returns an error for
// one that neither Warren nor the server would understand. Names do not depend on their case.
func checkParams(cfg *pgconn.Config) error {
	params := map[string]string{}
	for written, value := range cfg.RuntimeParams {
		name := strings.ToLower(written)
		for _, p := range foreignParams {
			if !slices.Contains(strings.Fields(p.names), name) {
				continue
			}
			if p.fine != "*" && !slices.Contains(strings.Fields(p.fine), strings.ToLower(value)) {
				return fmt.Errorf("DATABASE_URL has the parameter %s, which means nothing here: %s", written, p.advice)
			}
			name = ""
			break
		}
		if name != "" {
			params[name] = value
		}
	}
	cfg.RuntimeParams = params
	return nil
}

// foreignScheme returns the sentence for a URL that is meant for another program's driver, such as
// postgresql+asyncpg://; "" for any other.
func foreignScheme(scheme string) string {
	name := strings.ToLower(scheme)
	if strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789+:._-") != "" {
		return "" // it may be anything, also a password
	}
	for _, known := range []string{"postgres", "postgis", "pgsql", "psql", "ecto"} {
		if strings.Contains(name, known) {
			return fmt.Sprintf("DATABASE_URL begins with %s://, as other programs write it: write postgres:// instead", scheme)
		}
	}
	return ""
}

// paramError is the server's refusal of a session's parameters.
type paramError struct{ error }

func (e *paramError) Unwrap() error { return e.error }

// explainParam returns what to do about a parameter that the server refuses; "" if err is not about
// one.
func explainParam(err error, pg *pgconn.PgError) string {
	var refused *paramError
	switch {
	case strings.Contains(pg.Message, firstParam):
		return "Warren needs PostgreSQL 14 or newer."
	case strings.HasPrefix(pg.Message, "unrecognized configuration parameter"):
	case !errors.As(err, &refused) || !slices.Contains([]string{"22023", "42501", "55P02"}, pg.Code): // bad value, no right, not now
		return ""
	}
	return "It is a parameter in the query of DATABASE_URL: correct it, or leave it out."
}
