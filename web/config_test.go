package web_test

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/web"
)

func TestConfig_TheDashboardLeavesLoopbackOnlyWithSignIn(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ listen, password, proxy, wrong string }{
		{listen: "127.0.0.1:8080"},
		{listen: "[::1]:8080"},
		{listen: "localhost:8080"},
		{listen: "0.0.0.0:8080", wrong: "WARREN_PASSWORD, or WARREN_TRUST_PROXY"},
		{listen: ":8080", wrong: "listen on 127.0.0.1"},
		{listen: "[::]:8080", wrong: "listen on 127.0.0.1"},
		{listen: "[::ffff:0.0.0.0]:8080", wrong: "listen on 127.0.0.1"},
		{listen: "0:8080", wrong: "listen on 127.0.0.1"},
		{listen: "192.0.2.1:8080", wrong: "listen on 127.0.0.1"},
		{listen: "127.1:8080", wrong: "listen on 127.0.0.1"},
		{listen: "localhost.:8080", wrong: "listen on 127.0.0.1"},
		{listen: "[fe80::1%eth0]:8080", wrong: "listen on 127.0.0.1"},
		{listen: "warren.example:8080", wrong: "WARREN_LISTEN"},
		{listen: "0.0.0.0:8080", password: "long enough"},
		{listen: ":8080", proxy: "X-Forwarded-User"},
		{listen: ":8080", proxy: "REMOTE-USER_2"},
		{listen: "127.0.0.1:8080", password: "long enough"},
		{listen: "0.0.0.0:8080", password: "abc4567", wrong: "at least 8"},
		{listen: "127.0.0.1:8080", password: "abc4567", wrong: "at least 8"},
		{listen: "127.0.0.1:8080", password: "long enough", proxy: "X-Forwarded-User", wrong: "both set"},
		{listen: "127.0.0.1:8080", proxy: "true", wrong: "name of the header"},
		{listen: "127.0.0.1:8080", proxy: "1", wrong: "WARREN_PROXIES"},
		{listen: "127.0.0.1:8080", proxy: "10.0.0.0/8", wrong: "WARREN_PROXIES"},
		{listen: "127.0.0.1:8080", proxy: "x-forwarded-for", wrong: "WARREN_PROXIES"},
		{listen: "127.0.0.1:8080", proxy: "X-Real-IP", wrong: "WARREN_PROXIES"},
		{listen: "127.0.0.1:8080", proxy: "X-User: ada", wrong: "name of the header"},
		{listen: "127.0.0.1:8080", proxy: "-", wrong: "name of the header"},
	} {
		cfg := web.Config{Listen: c.listen, Password: c.password, TrustProxy: c.proxy, LogFormat: "text", Prefix: "warren",
			Queues: []string{"default"}, Concurrency: 1}
		if c.proxy != "" {
			cfg.Hosts = []string{"warren.example.com"}
		}
		err := cfg.Check()
		if c.wrong == "" {
			require.NoError(t, err, c)
			continue
		}
		require.ErrorContains(t, err, c.wrong)
		if c.password != "" {
			require.NotContains(t, err.Error(), c.password)
		}
	}
}

func TestConfig_WhatIsInFrontOfTheDashboardIsUnderstoodOrNamed(t *testing.T) {
	t.Parallel()
	check := func(c web.Config) (web.Config, error) {
		c.Listen, c.LogFormat, c.Prefix, c.Queues, c.Concurrency = "127.0.0.1:8080", "text", "warren", []string{"default"}, 1
		err := c.Check()
		return c, err
	}
	for _, c := range []web.Config{
		{Password: "long enough", Hosts: []string{"warren.example.com"}, BasePath: "/warren/"},
		{Password: "long enough", Proxies: []string{"10.0.0.0/8", " fd00::1"}, BasePath: "/warren"},
		{TrustProxy: "X-User", Hosts: []string{"a.example", "b.example"}, BasePath: "/warren"},
	} {
		c, err := check(c)
		require.NoError(t, err)
		require.Equal(t, "/warren", c.BasePath)
	}
	for wrong, c := range map[string]web.Config{
		"WARREN_TRUST_PROXY needs WARREN_HOSTS":                     {TrustProxy: "X-User"},
		"set WARREN_PASSWORD, or WARREN_TRUST_PROXY to the header":  {Hosts: []string{"warren.example.com"}},
		"WARREN_HOSTS: \"https://x.example\" is not a host name":    {Password: "long enough", Hosts: []string{"https://x.example"}},
		"WARREN_PROXIES: \"*\" is not the address of a proxy":       {Password: "long enough", Proxies: []string{"*"}},
		"WARREN_PROXIES: \"0.0.0.0/0\" would trust everybody":       {Password: "long enough", Proxies: []string{"0.0.0.0/0"}},
		"WARREN_BASE_PATH: \"warren\" is not a path such as /admin": {BasePath: "warren"},
	} {
		_, err := check(c)
		require.ErrorContains(t, err, wrong)
	}
}

func TestConfig_AWrongSettingOfAKindIsNamedAtTheStart(t *testing.T) {
	t.Parallel()
	valid := func() web.Config {
		return web.Config{Listen: "127.0.0.1:8080", Prefix: "warren", LogFormat: "text", Queues: []string{"default"}, Concurrency: 1,
			HTTPAllow: []string{"10.0.0.0/8", "hooks.internal"}, SMTPURL: "smtp://u:hunter2@mail.example",
			MailFrom: "Shop <shop@example.com>"}
	}
	c := valid()
	require.NoError(t, c.Check())
	for name, spoil := range map[string]func(*web.Config){
		"WARREN_HTTP_ALLOW": func(c *web.Config) { c.HTTPAllow = append(c.HTTPAllow, "10.0.0.0/99") },
		"SMTP_URL":          func(c *web.Config) { c.SMTPURL = "http://u:hunter2@mail.example" },
		"WARREN_MAIL_FROM":  func(c *web.Config) { c.MailFrom = "shop" },
	} {
		c := valid()
		spoil(&c)
		err := c.Check()
		require.ErrorContains(t, err, name)
		require.NotContains(t, err.Error(), "hunter2")
	}
}

func TestConfig_AWrongSettingIsToldWithoutItsPassword(t *testing.T) {
	t.Parallel()
	for _, c := range []web.Config{
		{AMQPURL: "amqp://u:hunter2/more@broker:5672/"},
		{AMQPURL: "amqp://u:hunter2%zz@broker:5672/"},
		{DatabaseURL: "postgres://u:hunter2/more@database/warren"},
		{AMQPURL: "amqp://broker", ManagementURL: "http://u:hunter2/more@broker:15672"},
	} {
		c.Listen, c.LogFormat, c.Prefix, c.Queues, c.Concurrency = "127.0.0.1:8080", "text", "warren", []string{"default"}, 1
		err := c.Check()
		require.Error(t, err)
		require.NotContains(t, err.Error(), "hunter")
	}
}

func TestConfig_SeveralBrokersHaveAsManyManagementAPIs(t *testing.T) {
	t.Parallel()
	check := func(amqp, management string) (string, error) {
		c := web.Config{AMQPURL: amqp, ManagementURL: management, Listen: "127.0.0.1:8080", LogFormat: "text", Prefix: "warren",
			Queues: []string{"default"}, Concurrency: 1}
		err := c.Check()
		return c.ManagementURL, err
	}
	derived, err := check("amqp://u:p@a/jobs, amqp://u:p@b:5673/jobs,amqps://u:p@c/jobs,amqp://u:p@b:5674/jobs", "")
	require.NoError(t, err)
	require.Equal(t, "http://u:p@a:15672,http://u:p@b:15672,https://u:p@c:15671", derived)

	_, err = check("amqp://u:p@a/jobs,amqp://u:hunter2@b/other", "")
	require.ErrorContains(t, err, "address 2 of the 2 in AMQP_URL")
	require.NotContains(t, err.Error(), "hunter2")
	_, err = check("amqp://u:p@a/jobs", "http://a:15672, b:15672")
	require.ErrorContains(t, err, "address 2 of the 2 in RABBITMQ_MANAGEMENT_URL")
}

func TestConfig_ABrokenDotEnvIsToldWithoutWhatIsInIt(t *testing.T) {
	for _, text := range []string{"export me\nWARREN_PASSWORD=hunter2hunter2\n", "DATABASE_URL='postgres://u:hunter2@database/warren\n"} {
		t.Chdir(t.TempDir())
		require.NoError(t, os.WriteFile(".env", []byte(text), 0o600))
		_, err := web.LoadConfig()
		require.ErrorContains(t, err, ".env")
		require.NotContains(t, err.Error(), "hunter2")
	}
}

func TestConfig_AQueueHasAWeightAndALimitOrAnErrorThatNamesIt(t *testing.T) {
	t.Parallel()
	for entry, wrong := range map[string]string{
		"default": "", "critical:8": "", "reports/1": "", "reports:2/1": "",
		"critical:0": `"critical:0"`, "critical:": `"critical:"`, "reports/x": `"reports/x"`, "reports/1:2": `"reports/1:2"`,
		"a b:1": "WARREN_QUEUES", ":8": `":8"`, "other": "twice",
	} {
		cfg := web.Config{Listen: "127.0.0.1:8080", Prefix: "warren", LogFormat: "text", Queues: []string{"other:2", entry}, Concurrency: 1}
		err := cfg.Check()
		if wrong == "" {
			require.NoError(t, err, entry)
			continue
		}
		require.ErrorContains(t, err, wrong, entry)
	}
}
