package store_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/store"
	"github.com/warrenjobs/warren/store/storetest"
)

// Teams have a DATABASE_URL already, as Prisma, Rails, Django, JDBC, SQLAlchemy, Node or psql take it.
func TestParams_WhatOtherProgramsWriteWorksOrIsRefusedByItsName(t *testing.T) {
	t.Parallel()
	const works = ""
	for param, says := range map[string]string{
		// libpq
		"keepalives=1": works, "keepalives_idle=30": works, "keepalives_interval=5": works, "keepalives_count=3": works,
		"gssencmode=disable": works, "gssencmode=prefer": works, "gssencmode=require": "sslmode", "client_encoding=UTF8": works,
		"client_encoding=auto": works, "client_encoding=LATIN1": "UTF-8", "connect_timeout=10": works, "channel_binding=prefer": works,
		"application_name=shop": works, "fallback_application_name=shop": "application_name", "hostaddr=10.0.0.1": "as the host",
		"options=-c%20geqo%3Doff": works, "sslcompression=0": works, "sslcompression=1": "leave it out", "sslcrl=/x.pem": "revocation",
		"ssl_min_protocol_version=TLSv1.2": works, "ssl_min_protocol_version=TLSv1.3": "TLS 1.2", "load_balance_hosts=disable": works,
		"load_balance_hosts=random": "takes writes", "tcp_user_timeout=5000": works, "search_path=shop,public": works,
		"statement_timeout=5000": works, "lock_timeout=1s": works, "TimeZone=Europe/Berlin": works, "target_session_attrs=primary": works,
		// pgx
		"pool_max_conns=20": works, "pool_max_conn_lifetime=10m": works, "statement_cache_capacity=100": works,
		"default_query_exec_mode=cache_describe": works, "statement_cache_mode=describe": "pool_mode = session",
		// Prisma
		"schema=public": "search_path=", "pgbouncer=true": "pool_mode = session", "connection_limit=5": "pool_max_conns=",
		"pool_timeout=0": "leave it out", "socket_timeout=3": "statement_timeout", "sslaccept=strict": "sslmode=",
		"statement_cache_size=0": "pool_mode = session", "sslidentity=x.p12": "sslcert=",
		// Rails, Django, JDBC, SQLAlchemy, Node
		"pool=5": "pool_max_conns=", "prepared_statements=false": "pool_mode = session", "encoding=unicode": works,
		"schema_search_path=shop": "search_path=", "checkout_timeout=5": "leave it out", "conn_max_age=600": "pool_max_conn_lifetime=",
		"currentSchema=shop": "search_path=", "ssl=true": works, "ssl=false": "sslmode=", "prepareThreshold=0": "pool_mode = session",
		"ApplicationName=shop": "application_name=", "targetServerType=primary": "target_session_attrs=", "tcpKeepAlive=true": works,
		"prepared_statement_cache_size=0": "pool_mode = session", "command_timeout=60": "leave it out", "sslmode=no-verify": "verify-full",
		"uselibpqcompat=true": works, "max=10": "pool_max_conns=", "reWriteBatchedInserts=true": "leave it out",
	} {
		name, _, _ := strings.Cut(param, "=")
		err := store.CheckURL("postgres://u:hunter2@h/d?" + param)
		if says == works {
			require.NoError(t, err, param)
			continue
		}
		require.ErrorContains(t, err, says, param)
		require.ErrorContains(t, err, name, param)
		require.ErrorContains(t, err, "DATABASE_URL", param)
		require.NotContains(t, err.Error(), "hunter2", param)
	}
}

func TestParams_AForeignSchemeIsNamed(t *testing.T) {
	t.Parallel()
	for _, url := range []string{"postgresql+asyncpg://u:hunter2@h/d", "postgresql+psycopg2://u:hunter2@h/d",
		"jdbc:postgresql://h/d?password=hunter2",
		"postgis://u:hunter2@h/d", "pgsql://u:hunter2@h/d", "ecto://u:hunter2@h/d", "POSTGRES://u:hunter2@h/d"} {
		err := store.CheckURL(url)
		require.ErrorContains(t, err, "write postgres:// instead", url)
		require.NotContains(t, err.Error(), "hunter2")
	}
	require.ErrorContains(t, store.CheckURL("postgres://u:hunter2@h/d\n"), "line break")
	require.ErrorContains(t, store.CheckURL("postgres://u:hunter2/x@h/d"), "percent-encoded")
	require.ErrorContains(t, store.CheckURL("postgres://u:what?@h/d?target_session_attrs=standby"), "Warren writes")
	require.ErrorContains(t, store.CheckURL("postgres://u:p@h?target_session_attrs=standby"), "Warren writes")
	require.ErrorContains(t, store.CheckURL("postgres:///d?host=/run/pg&target_session_attrs=standby"), "Warren writes")
	for _, url := range []string{"u:hunter2postgres@h://d", "mysql://u:hunter2@h/d", "host=h password=hunter2", "hunter2"} {
		err := store.CheckURL(url)
		require.ErrorContains(t, err, "must look like postgres://", url)
		require.NotContains(t, err.Error(), "hunter2")
	}
}

func TestParams_WhatOnlyTheServerKnowsIsItsToRefuse(t *testing.T) {
	t.Parallel()
	database := storetest.Database(t)
	with := func(params string) (*store.Store, error) {
		separator := "?"
		if strings.Contains(database, "?") {
			separator = "&"
		}
		s := open(t, database+separator+params)
		return s, s.Ping(t.Context())
	}
	_, err := with("keepalives=1&gssencmode=disable&client_encoding=utf8&TimeZone=Europe/Berlin&Statement_Timeout=60000" +
		"&application_name=shop&search_path=shop&options=-c%20geqo%3Doff&tcp_user_timeout=5000")
	require.NoError(t, err)
	for params, says := range map[string]string{
		"nonsense=1":                         `unrecognized configuration parameter "nonsense"`,
		"options=-c%20nonsense%3D1":          `unrecognized configuration parameter "nonsense"`,
		"statement_timeout=soon":             `invalid value for parameter "statement_timeout"`,
		"shared_buffers=1GB":                 `parameter "shared_buffers" cannot be changed`,
		"ssl_ciphers=x":                      `parameter "ssl_ciphers" cannot be changed`,
		"server_version=9":                   `parameter "server_version" cannot be changed`,
		"default_transaction_isolation=none": `invalid value for parameter "default_transaction_isolation"`,
	} {
		s, err := with(params)
		require.Error(t, err, params)
		require.Contains(t, s.Explain(err), says, params)
		require.Contains(t, s.Explain(err), "DATABASE_URL: correct it, or leave it out", params)
	}
}

func TestParams_AServerThatDoesNotAnswerIsGivenUpAfterConnectTimeout(t *testing.T) {
	t.Parallel()
	const usual = 5 * time.Second
	for query, want := range map[string]time.Duration{"": usual, "?connect_timeout=60": time.Minute, "?connect_timeout=0": usual} {
		cfg, err := store.ParseURL("postgres://warren@127.0.0.1/warren" + query)
		require.NoError(t, err)
		require.Equal(t, want, cfg.ConnConfig.ConnectTimeout, query)
	}
}
