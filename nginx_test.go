package warren_test

import (
	"bytes"
	"fmt"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren"
)

// nginx starts nginx as docs/deploy.md says, but without TLS, in front of a server, and returns its
// port. The location is / or that of a path.
func nginx(t *testing.T, upstream, location string) (port string) {
	t.Helper()
	program, err := exec.LookPath("nginx")
	if err != nil {
		if program, err = exec.LookPath("/usr/sbin/nginx"); err != nil {
			t.Skip("nginx is not installed")
		}
	}
	page, err := os.ReadFile("docs/deploy.md")
	require.NoError(t, err)
	_, block, _ := strings.Cut(string(page), "```nginx\n")
	block, _, _ = strings.Cut(block, "```")
	reserved := httptest.NewServer(nil)
	address := reserved.Listener.Addr().String()
	reserved.Close()
	for _, edit := range []struct{ from, to string }{
		{`listen 443 ssl`, "listen " + address}, {`(?m)^\s*ssl_.*$`, ""}, {`127\.0\.0\.1:8080`, upstream},
		{`location /`, "location " + location}, {`server_name warren.example.com`, "server_name warren.example.com jobs.example.com"},
	} {
		part := regexp.MustCompile(edit.from)
		require.Regexp(t, part, block)
		block = part.ReplaceAllString(block, edit.to)
	}
	dir := t.TempDir()
	temporary := ""
	for _, name := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		temporary += fmt.Sprintf("%s_temp_path %s;\n", name, filepath.Join(dir, name))
	}
	user := ""
	if os.Getuid() == 0 {
		user = "user root;\n"
	}
	config := filepath.Join(dir, "nginx.conf")
	require.NoError(t, os.WriteFile(config, fmt.Appendf(nil, "%sdaemon off;\nmaster_process off;\npid %s;\nerror_log stderr;\nevents {}\n"+
		"http {\naccess_log off;\n%s%s}\n", user, filepath.Join(dir, "pid"), temporary, block), 0o600))
	var log bytes.Buffer
	cmd := exec.CommandContext(t.Context(), program, "-e", "stderr", "-p", dir, "-c", config)
	cmd.Stderr = &log
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Log(log.String())
		}
	})
	require.Eventually(t, func() bool {
		answer, err := http.Get("http://" + address)
		if err == nil {
			_ = answer.Body.Close()
		}
		return err == nil
	}, time.Minute, 10*time.Millisecond)
	_, port, _ = strings.Cut(address, ":")
	return port
}

func TestDashboard_WorksBehindNginxAsDeployMdSays(t *testing.T) {
	t.Parallel()
	for base, location := range map[string]string{"": "/", "/warren": "/warren/"} {
		t.Run(location, func(t *testing.T) {
			t.Parallel()
			h, err := filled(t).Dashboard(warren.Password("first-password"), warren.At(base+"/"))
			require.NoError(t, err)
			server := httptest.NewServer(h)
			t.Cleanup(server.Close)
			t.Cleanup(server.CloseClientConnections) // the streams
			port := nginx(t, server.Listener.Addr().String(), location)
			for _, host := range []string{"jobs.example.com", "warren.example.com"} {
				walk(t, signedIn(t, "http://"+host+":"+port, base), base)
			}
			b := signedIn(t, "http://warren.example.com:"+port, base)
			big := "description\n" + strings.Repeat("water the plants\n", 300_000)
			require.Contains(t, b.upload(base+"/tasks/import", big), base+"/jobs/")
			require.Equal(t, base+"/login", b.post(base+"/logout", nil))
			require.Contains(t, b.upload(base+"/tasks/import", big), base+"/login", "a refusal arrives, though the file is not read")
		})
	}
}

// signedIn returns a browser that is signed in at an address that only nginx knows.
func signedIn(t *testing.T, address, base string) *browser {
	t.Helper()
	b := newBrowser(t, address)
	b.client.Transport = originOf{address: address, to: "127.0.0.1:" + b.port}
	require.Equal(t, base+"/", b.post(base+"/login", url.Values{"password": {"first-password"}}))
	return b
}

func walk(t *testing.T, b *browser, base string) {
	t.Helper()
	for _, page := range []string{"/jobs", "/queues/~1/warren.jobs.default", "/api/v1/queues/%2F/warren.jobs.default/redeliveries"} {
		status, body, _ := b.get(base + page)
		require.Equal(t, http.StatusOK, status, page)
		for _, found := range regexp.MustCompile(`(?:href|src|action)="(/[^"]*)"`).FindAllStringSubmatch(body, -1) {
			require.True(t, strings.HasPrefix(found[1], base+"/"), found[1])
		}
	}
	status, _, header := b.get(base + "/live?topics=jobs")
	require.Equal(t, http.StatusOK, status)
	require.Contains(t, header.Get("Content-Type"), "text/event-stream")

	require.Equal(t, base+"/login", b.post(base+"/logout", nil))
}

// upload sends a file and returns the address that the answer redirects to.
func (b *browser) upload(path, content string) string {
	b.t.Helper()
	var form bytes.Buffer
	w := multipart.NewWriter(&form)
	file, err := w.CreateFormFile("file", "tasks.csv")
	require.NoError(b.t, err)
	_, err = file.Write([]byte(content))
	require.NoError(b.t, err)
	require.NoError(b.t, w.Close())
	answer, err := b.client.Post(b.url+path, w.FormDataContentType(), &form)
	require.NoError(b.t, err)
	require.NoError(b.t, answer.Body.Close())
	return answer.Header.Get("Location")
}

// originOf sends the requests of a page at address to another address, as a browser does that has
// found it in the name service.
type originOf struct{ address, to string }

func (o originOf) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Origin", o.address)
	r.Host, r.URL.Host = r.URL.Host, o.to
	return http.DefaultTransport.RoundTrip(r)
}
