package web_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestLicenses_OfAllThatTheBinaryCarriesAreInIt(t *testing.T) {
	t.Parallel()
	const format = `{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}}{{end}}{{end}}`
	list := exec.Command("go", "list", "-deps", "-f", format, module+"/web/warren")
	list.Env = append(os.Environ(), "GOOS=linux", "GOARCH=amd64", "CGO_ENABLED=0")
	out, err := list.Output()
	require.NoError(t, err)
	text, err := os.ReadFile("licenses.txt")
	require.NoError(t, err)
	licenses := strings.Split(string(text), "\n")
	modules := strings.Fields(strings.ReplaceAll(string(out), " ", "@"))
	require.NotEmpty(t, modules)
	for _, m := range append(modules, "The@Go@standard@library", "MIT@License") {
		require.Contains(t, licenses, strings.ReplaceAll(m, "@", " "), "run .ci/licenses")
	}
	for _, name := range []string{"htmx.org ", "tailwindcss ", "daisyui "} {
		require.Contains(t, string(text), "\n"+name)
	}
}
