package rabbit

import (
	"os"
	"testing"

	"github.com/warrenjobs/warren/jobs/rabbit/rabbittest"
)

func TestMain(m *testing.M) {
	code := m.Run()
	rabbittest.Stop()
	os.Exit(code)
}
