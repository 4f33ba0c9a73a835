package web_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/web"
)

func TestAWrongSettingOfAKindIsNamedAtTheStart(t *testing.T) {
	t.Parallel()
	valid := func() web.Config {
		return web.Config{Listen: "127.0.0.1:8080", Prefix: "warren", LogFormat: "text", Queues: []string{"default"}, Concurrency: 1,
			HTTPAllow: []string{"10.0.0.0/8", "hooks.internal"}, SMTPURL: "smtp://u:hunter2@mail.example", MailFrom: "Shop <shop@example.com>"}
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
