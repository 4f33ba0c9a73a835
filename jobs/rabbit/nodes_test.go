package rabbit

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestNodes_TheWrongOneOfSeveralAddressesIsNamedWithoutItsPassword(t *testing.T) {
	t.Parallel()
	const good = "amqp://u:hunter2@a/jobs"
	for url, says := range map[string]string{
		"http://u:hunter2@a/jobs":                     "AMQP_URL is not an AMQP URL",
		good + ",":                                    "address 2 of the 2 in AMQP_URL",
		good + ", " + good + ",b:5672":                "address 3 of the 3 in AMQP_URL",
		"amqp://u:hunter2,more@a/jobs":                "address 1 of the 2 in AMQP_URL",
		"amqp://u:999hunter2@a:99999999999/jobs":      "AMQP_URL is not an AMQP URL",
		good + ",amqp://u:hunter2@b/other":            "address 2 of the 2 in AMQP_URL has another user or virtual host",
		good + ",amqp://other:hunter2@b/jobs," + good: "address 2 of the 3 in AMQP_URL has another user or virtual host",
	} {
		err := CheckURL(url)
		require.ErrorContains(t, err, says)
		require.NotContains(t, err.Error(), "hunter2")
	}
	require.NoError(t, CheckURL(good+", amqps://u:another@b:5671/jobs"))
}
