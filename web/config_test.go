package web_test

import (
	"errors"
	"log/slog"
	"os"
	"reflect"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren"
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
			MailFrom: "Shop <shop@example.com>", Name: "eu-1/mail.2_b:7@x"}
	}
	c := valid()
	require.NoError(t, c.Check())
	for name, spoil := range map[string]func(*web.Config){
		"WARREN_NAME":       func(c *web.Config) { c.Name = strings.Repeat("n", 65) },
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

// Files of secrets end in a line break, and so do the variables that are read from them.
func TestConfig_WhatStandsAroundAValueDoesNotBelongToIt(t *testing.T) {
	t.Chdir(t.TempDir())
	for name, value := range map[string]string{"WARREN_PASSWORD": "correct-horse\n", "DATABASE_URL": " postgres://u:p@h/d\r\n",
		"AMQP_URL": "amqp://u:p@h/\n", "RABBITMQ_MANAGEMENT_URL": "\thttp://u:p@h:15672/api/\n", "WARREN_CONCURRENCY": "5\n",
		"WARREN_QUEUES": "a,b\n", "SMTP_URL": "smtp://u:p@h:587\n", "WARREN_MAIL_FROM": "Shop <shop@example.com>\n",
		"WARREN_READ_ONLY": "1\n", "WARREN_KEEP_DEAD": "48h\n", "WARREN_LOG_LEVEL": "DEBUG\n", "WARREN_LISTEN": "127.0.0.1:8081\n"} {
		t.Setenv(name, value)
	}
	c, err := web.LoadConfig()
	require.NoError(t, err)
	require.NoError(t, c.Check())
	require.Equal(t, "correct-horse", c.Password)
	require.Equal(t, "postgres://u:p@h/d", c.DatabaseURL)
	require.Equal(t, []string{"a", "b"}, c.Queues)
	require.Equal(t, 5, c.Concurrency)
	require.Equal(t, "127.0.0.1:8081", c.Listen)
}

func TestConfig_AValueThatCannotBeMeantIsNamedAndNotShown(t *testing.T) {
	t.Chdir(t.TempDir())
	for value, says := range map[string]string{"hunter2\nhunter2": "line break", "hunter2\x1bhunter2": "plain text",
		"hunter2\thunter2": "plain text", "hunter2\xffhunter2": "plain text", `"hunter2hunter2"`: "quote", `'hunter2hunter2'`: "quote"} {
		for _, name := range []string{"WARREN_PASSWORD", "DATABASE_URL", "SMTP_URL"} {
			t.Setenv(name, value)
			_, err := web.LoadConfig()
			require.ErrorContains(t, err, name)
			require.ErrorContains(t, err, says)
			require.NotContains(t, err.Error(), "hunter2")
			require.NoError(t, os.Unsetenv(name))
		}
	}
}

func TestConfig_ALineOfDotEnvIsReadAsItIsMeantOrRefused(t *testing.T) {
	t.Setenv("WARREN_PASSWORD", "") // put back at the end
	utf16le := []byte{0xFF, 0xFE}
	for _, unit := range utf16.Encode([]rune("WARREN_PASSWORD=hunter2hunter2")) {
		utf16le = append(utf16le, byte(unit), byte(unit>>8))
	}
	for text, want := range map[string]string{
		"WARREN_PASSWORD=correct-horse":                          "correct-horse",
		"export WARREN_PASSWORD=correct-horse\n":                 "correct-horse",
		"WARREN_PASSWORD = correct-horse\r\nWARREN_ENV=x\r\n":    "correct-horse",
		"\uFEFFWARREN_PASSWORD=correct-horse":                    "correct-horse",
		"WARREN_PASSWORD: correct-horse":                         "correct-horse",
		"# a comment\n\nWARREN_PASSWORD=correct-horse # another": "correct-horse",
		`WARREN_PASSWORD="correct-horse" # a comment`:            "correct-horse",
		"WARREN_PASSWORD=correct#horse":                          "correct#horse",
		"WARREN_PASSWORD='correct # horse'":                      "correct # horse",
		"WARREN_PASSWORD=correct=horse":                          "correct=horse",
		"WARREN_PASSWORD=' correct horse '":                      " correct horse ",
		"WARREN_PASSWORD='correct$HORSE'":                        "correct$HORSE",
		`WARREN_PASSWORD='correct\horse'`:                        `correct\horse`,
		`WARREN_PASSWORD="correct\\horse"`:                       `correct\horse`,
		`WARREN_PASSWORD="correct\"horse"`:                       `correct"horse`,
		"WARREN_PASSWORD=correct$horse":                          "correct$horse",
		"WARREN_PASSWORD=correct-horse$":                         "correct-horse$",
		"WARREN_PASSWORD=correct$$horse":                         "correct$$horse",
		`WARREN_PASSWORD=correct\$5`:                             "correct$5",
		`WARREN_PASSWORD="correct\$HORSE"`:                       "correct$HORSE",
		"HORSE=battery\nWARREN_PASSWORD=correct-${HORSE}":        "correct-battery",
		"HORSE=battery\nWARREN_PASSWORD=\"correct-$HORSE\"":      "correct-battery",

		"WARREN_PASSWORD=hunter2$5":                            "single quotes",
		`WARREN_PASSWORD="hunter2$HORSE"`:                      "single quotes",
		"WARREN_PASSWORD=hunter2${HORSE}":                      "single quotes",
		"WARREN_PASSWORD=hunter2${HORSE:-battery}":             "single quotes",
		"HORSE=a\nWARREN_PASSWORD=hunter2${HORSE:-battery}":    "single quotes",
		"HORSE=a\nWARREN_PASSWORD=hunter2$(HORSE)":             "single quotes",
		"WARREN_PASSWORD=hunter2${HORSE}\nHORSE=battery":       "single quotes",
		`WARREN_PASSWORD="hunter2\horse"`:                      "single quotes",
		`WARREN_PASSWORD="hunter2\nhorse"`:                     "WARREN_PASSWORD has a line break",
		"WARREN_PASSWORD=\"hunter2\nhorse\"":                   "WARREN_PASSWORD has a line break",
		"export me\nWARREN_PASSWORD=hunter2hunter2\n":          ".env",
		"DATABASE_URL='postgres://u:hunter2@database/warren\n": ".env",
		"WARREN_PASSWORD='hunter2'hunter2":                     ".env",
		string(utf16le):                                        "UTF-8",
	} {
		t.Chdir(t.TempDir())
		require.NoError(t, os.WriteFile(".env", []byte(text), 0o600))
		for _, name := range []string{"WARREN_PASSWORD", "HORSE", "WARREN_ENV", "DATABASE_URL"} {
			require.NoError(t, os.Unsetenv(name))
		}
		c, err := web.LoadConfig()
		if strings.Contains(text, "hunter2") || text == string(utf16le) {
			require.ErrorContains(t, err, want, text)
			require.NotContains(t, err.Error(), "hunter2")
			continue
		}
		require.NoError(t, err, text)
		require.Equal(t, want, c.Password, text)
	}
}

func TestConfig_NoSettingIsToldWithAPassword(t *testing.T) {
	t.Parallel()
	fields := reflect.TypeFor[web.Config]()
	for i := range fields.NumField() {
		for _, url := range []string{"postgres://u:hunter2/more@h/d", "postgresql+asyncpg://u:hunter2@h/d",
			"postgres://u:hunter2@h/d?schema=x",
			"postgres://u:hunter2@h:x/d", "amqp://u:hunter2%zz@h", "amqp://u:hunter2@h:x/", "amqp://u:hunter2@h/,amqp://v:hunter2@h/",
			"amqp://u:1?hunter2@h/",
			"http://u:hunter2@h:port", "https://u:hunter2/@h", "smtp://u:hunter2@h:x", "ftp://u:hunter2@h", "://u:hunter2@h",
			"a b://u:hunter2@h"} {
			c := web.Config{Listen: "127.0.0.1:8080", Prefix: "warren", LogFormat: "text", Queues: []string{"default"}, Concurrency: 1,
				AMQPURL: "amqp://h"}
			switch field := reflect.ValueOf(&c).Elem().Field(i); field.Kind() {
			case reflect.String:
				field.SetString(url)
			case reflect.Slice:
				field.Set(reflect.ValueOf([]string{url}))
			default:
				continue
			}
			if err := c.Check(); err != nil {
				require.NotContains(t, err.Error(), "hunter2", fields.Field(i).Name)
			}
		}
	}
}

func TestConfig_APasswordThatMustBeEncodedIsToldHow(t *testing.T) {
	t.Parallel()
	for _, password := range []string{"a/b", "a%b", "a[b", "a b"} {
		for name, set := range map[string]func(*web.Config){
			"DATABASE_URL":            func(c *web.Config) { c.DatabaseURL = "postgres://u:" + password + "@h/d" },
			"AMQP_URL":                func(c *web.Config) { c.AMQPURL = "amqp://u:" + password + "@h/" },
			"RABBITMQ_MANAGEMENT_URL": func(c *web.Config) { c.ManagementURL = "http://u:" + password + "@h:15672" },
			"SMTP_URL":                func(c *web.Config) { c.SMTPURL = "smtp://u:" + password + "@h:587" },
		} {
			c := web.Config{Listen: "127.0.0.1:8080", Prefix: "warren", LogFormat: "text", Queues: []string{"default"}, Concurrency: 1,
				AMQPURL: "amqp://h"}
			if set(&c); c.Check() == nil {
				require.Equal(t, "DATABASE_URL a[b", name+" "+password, "libpq takes it as it is")
				continue
			}
			err := c.Check().Error()
			require.Contains(t, err, name)
			require.Contains(t, err, "user:password@host", "how it should look is shown")
			if password != "a b" {
				require.Contains(t, err, "percent-encoded", name+" "+password)
			}
		}
	}
}

func TestLog_HidesPasswordsOfURLs(t *testing.T) {
	t.Parallel()
	for _, value := range []any{"dial amqp://u:hunter2@h/x", errors.New(`Post "http://u:hunter2/@h/": no`),
		"see http://u:hunter2@h:1, then"} {
		a := web.HidePassword(nil, slog.Any("error", value))
		require.NotContains(t, a.Value.String(), "hunter2")
		require.Contains(t, a.Value.String(), "://…@h")
	}
	const harmless = "ada@example.com at https://h/x"
	require.Equal(t, harmless, web.HidePassword(nil, slog.String("to", harmless)).Value.String())
	require.Equal(t, int64(5), web.HidePassword(nil, slog.Int("n", 5)).Value.Int64())
}

func TestTraces_AWrongVariableIsNamedAndNotShown(t *testing.T) {
	for variable, says := range map[string]string{
		"OTEL_EXPORTER_OTLP_ENDPOINT=http://u:hunter2/more@collector:4318": "OTEL_EXPORTER_OTLP_ENDPOINT is not a URL",
		"OTEL_EXPORTER_OTLP_ENDPOINT=http://u:hunter2%zz@collector:4318":   "OTEL_EXPORTER_OTLP_ENDPOINT is not a URL",
		"OTEL_EXPORTER_OTLP_ENDPOINT=http://u:hunter2@collector:4318":      "OTEL_EXPORTER_OTLP_HEADERS",
		"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=http://hunter2@collector:4318": "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT has a user",
		"OTEL_EXPORTER_OTLP_ENDPOINT=collector:4318":                       "must look like http://collector:4318",
		"OTEL_EXPORTER_OTLP_ENDPOINT=http://":                              "must look like http://collector:4318",
		"OTEL_EXPORTER_OTLP_HEADERS=Bearer hunter2":                        "HEADERS must look like",
		"OTEL_EXPORTER_OTLP_HEADERS=authorization=hunter2%zz":              "HEADERS must look like",
		"OTEL_EXPORTER_OTLP_TRACES_HEADERS=a b=hunter2":                    "HEADERS must look like",
		"OTEL_EXPORTER_OTLP_TIMEOUT=hunter2":                               "TIMEOUT is in milliseconds",
		"OTEL_EXPORTER_OTLP_CERTIFICATE=/nowhere/hunter2":                  "CERTIFICATE",
	} {
		name, value, _ := strings.Cut(variable, "=")
		t.Run(name, func(t *testing.T) {
			t.Setenv("OTEL_TRACES_EXPORTER", "otlp")
			t.Setenv(name, value)
			c := web.Config{Listen: "127.0.0.1:0", Prefix: "warren", LogFormat: "text", Queues: []string{"default"}, Concurrency: 1,
				DatabaseURL: "postgres://127.0.0.1:1/d", AMQPURL: "amqp://127.0.0.1:1/"}
			err := web.Run(t.Context(), c, warren.Roles(), slog.New(slog.DiscardHandler))
			require.ErrorContains(t, err, says)
			require.NotContains(t, err.Error(), "hunter2")
		})
	}
}

func TestConfig_AQueueHasAWeightAndALimitOrAnErrorThatNamesIt(t *testing.T) {
	t.Parallel()
	for entry, wrong := range map[string]string{
		"default": "", "critical:8": "", "reports/1": "", "reports:2/1": "", " mail ": "",
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
