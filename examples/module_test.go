package examples

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/rabbit/rabbittest"
	"github.com/warrenjobs/warren/store/storetest"
)

// The program is like a team's: a module of its own outside of this tree, with vendored dependencies.
func TestModule_OfItsOwnEnqueuesInTransactionsWorksAndServesTheDashboard(t *testing.T) {
	t.Parallel()
	source := read(t, "testdata/module/main.go")
	require.LessOrEqual(t, len(regexp.MustCompile(`(?m)^.*\S`).FindAllString(source, -1)), 40, "lines that are not empty")
	app, inside := startModule(t, buildModule(t, source))
	ask := func(method, url, user string) (int, string) {
		req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
		require.NoError(t, err)
		if user != "" {
			req.SetBasicAuth(user, "")
		}
		answer, err := http.DefaultClient.Do(req)
		if err != nil {
			return 0, ""
		}
		defer func() { _ = answer.Body.Close() }()
		body, err := io.ReadAll(answer.Body)
		require.NoError(t, err)
		return answer.StatusCode, string(body)
	}
	require.Eventually(t, func() bool {
		status, _ := ask(http.MethodGet, inside+"/admin/jobs/readyz", "")
		return status == http.StatusOK
	}, time.Minute, 50*time.Millisecond)

	status, body := ask(http.MethodPost, app+"/customers/7", "")
	require.Equal(t, http.StatusOK, status, body)
	status, _ = ask(http.MethodPost, app+"/customers/7", "")
	require.Equal(t, http.StatusInternalServerError, status, "there is one: its transaction and its job are rolled back")
	list := func() (page struct{ Items []jobs.Job }) {
		status, body := ask(http.MethodGet, app+"/admin/jobs/api/v1/jobs", "ann")
		require.Equal(t, http.StatusOK, status, body)
		require.NoError(t, json.Unmarshal([]byte(body), &page), body)
		return page
	}
	require.Eventually(t, func() bool {
		items := list().Items
		return len(items) == 1 && items[0].State == jobs.Completed
	}, time.Minute, 50*time.Millisecond)
	require.JSONEq(t, `"Hello 7"`, string(list().Items[0].Output))
	for _, base := range []string{app, inside} { // an echo.Group and an http.ServeMux
		status, page := ask(http.MethodGet, base+"/admin/jobs/jobs", "ann")
		require.Equal(t, http.StatusOK, status)
		require.Contains(t, page, "shop.welcome")
		asset := regexp.MustCompile(`href="(/admin/jobs/static/[^"]*\.css)"`).FindStringSubmatch(page)
		require.NotNil(t, asset)
		status, _ = ask(http.MethodGet, base+asset[1], "ann")
		require.Equal(t, http.StatusOK, status, "the assets are vendored, too")
	}
	status, _ = ask(http.MethodGet, app+"/admin/jobs/jobs", "")
	require.Equal(t, http.StatusUnauthorized, status, "behind the application's own sign-in")
}

// buildModule builds the program in a module that replaces Warren's module by this tree.
func buildModule(t *testing.T, source string) (program string) {
	t.Helper()
	tree, err := filepath.Abs("..")
	require.NoError(t, err)
	dir := t.TempDir()
	write := func(name, text string) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	required := regexp.MustCompile(`(?s)require \(\n.*?\n\)\n`).FindAllString(read(t, "../go.mod"), -1)
	write("main.go", source)
	write("go.sum", read(t, "../go.sum"))
	write("go.mod", "module example.com/shop\n\n"+regexp.MustCompile(`(?m)^go .*`).FindString(read(t, "../go.mod"))+
		"\n\nrequire github.com/warrenjobs/warren v0.0.0\n\nreplace github.com/warrenjobs/warren => "+tree+"\n\n"+
		strings.Join(required, "\n"))
	run := func(args ...string) {
		cmd := exec.CommandContext(t.Context(), "go", args...)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "GOFLAGS=", "GOWORK=off")
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "go %v: %s", args, out)
	}
	run("mod", "tidy")
	run("mod", "vendor")
	run("build", "-mod=vendor", "-trimpath", "-o", "shop", ".") // -trimpath reuses what was built in another folder
	return filepath.Join(dir, "shop")
}

// startModule runs the program on its own database and virtual host until the test ends.
func startModule(t *testing.T, program string) (app, inside string) {
	t.Helper()
	cmd := exec.Command(program)
	cmd.Env = append(os.Environ(), "DATABASE_URL="+storetest.Database(t), "AMQP_URL="+rabbittest.New(t).URL)
	cmd.Stdout, cmd.Stderr = t.Output(), t.Output()
	listen := func(variable string) (base string) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		require.NoError(t, l.Close())
		cmd.Env = append(cmd.Env, variable+"="+l.Addr().String())
		return "http://" + l.Addr().String()
	}
	app, inside = listen("LISTEN"), listen("LISTEN_INSIDE")
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return app, inside
}
