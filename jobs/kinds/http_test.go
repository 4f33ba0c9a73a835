package kinds

import (
	"bufio"
	"compress/gzip"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/dns/dnsmessage"

	"github.com/warrenjobs/warren/jobs"
)

// serve runs a handler on a loopback address.
func serve(t *testing.T, ip string, handler http.HandlerFunc) *httptest.Server {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(ip, "0"))
	require.NoError(t, err)
	s := httptest.NewUnstartedServer(handler)
	s.Listener = l
	s.Start()
	t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
	return s
}

func client(t *testing.T, allow ...string) *httpKind {
	t.Helper()
	a, err := ParseHTTPAllow(allow)
	require.NoError(t, err)
	return newHTTPKind(Config{Version: "1.2.3", HTTPAllow: a})
}

var run1 = uuid.MustParse("0199f2c4-7a31-7c3e-9d41-5b6e0a1f3a77")

// do runs a job through its kind, as a worker does, and returns its output.
func (k *httpKind) do(t *testing.T, args HTTP) (httpAnswer, error) {
	t.Helper()
	require.NoError(t, args.Validate())
	run := &jobs.Run{ID: run1, Attempt: 3}
	err := k.run(t.Context(), run, args)
	var got httpAnswer
	if raw := run.Record().Output(); raw != nil {
		require.NoError(t, json.Unmarshal(raw, &got))
	}
	return got, err
}

func TestHTTP_ARequestIsSentAsWrittenAndItsAnswerKept(t *testing.T) {
	t.Parallel()
	var got *http.Request
	var body []byte
	s := serve(t, "127.0.0.1", func(w http.ResponseWriter, r *http.Request) {
		got = r
		body, _ = io.ReadAll(r.Body)
		w.Header().Set("X-Answer", "yes")
		w.Header().Set("Set-Cookie", "session=secret")
		w.WriteHeader(http.StatusCreated)
		fmt.Fprint(w, "größer")
	})
	answer, err := client(t, "127.0.0.1").do(t, HTTP{Method: "POST", URL: s.URL + "/hook?a=1", Body: `{"n":1}`,
		Headers: map[string]string{"X-Key": "k"}})
	require.NoError(t, err)
	require.Equal(t, "POST /hook?a=1", got.Method+" "+got.RequestURI)
	require.JSONEq(t, `{"n":1}`, string(body))
	for name, value := range map[string]string{"X-Key": "k", "Content-Type": "application/json", "User-Agent": "Warren/1.2.3",
		"Idempotency-Key": run1.String(), "Warren-Attempt": "3"} {
		require.Equal(t, value, got.Header.Get(name), name)
	}
	require.Equal(t, 201, answer.Status)
	require.Equal(t, s.URL+"/hook?a=1", answer.URL)
	require.Equal(t, "größer", answer.Body)
	require.Equal(t, "yes", answer.Headers["X-Answer"])
	require.NotContains(t, answer.Headers, "Set-Cookie")
	require.False(t, answer.Truncated)
	require.EqualValues(t, 8, *answer.BytesDeclared)
}

func TestHTTP_HeadersOfTheJobGoBeforeWarrensOwn(t *testing.T) {
	t.Parallel()
	var got http.Header
	s := serve(t, "127.0.0.1", func(_ http.ResponseWriter, r *http.Request) { got = r.Header })
	_, err := client(t, "127.0.0.1").do(t, HTTP{Method: "PUT", URL: s.URL, Body: "x", Headers: map[string]string{"user-agent": "me",
		"idempotency-key": "mine", "content-type": "text/csv"}})
	require.NoError(t, err)
	require.Equal(t, []string{"me", "mine", "text/csv"}, []string{got.Get("User-Agent"), got.Get("Idempotency-Key"),
		got.Get("Content-Type")})
}

func TestHTTP_AnyStatusButTheExpectedFailsTheAttempt(t *testing.T) {
	t.Parallel()
	s := serve(t, "127.0.0.1", func(w http.ResponseWriter, r *http.Request) {
		var status int
		_, _ = fmt.Sscanf(r.URL.Path, "/%d", &status)
		w.Header().Set("Location", "/200")
		w.WriteHeader(status)
		fmt.Fprint(w, strings.Repeat("no ", 100))
	})
	k := client(t, "127.0.0.1")
	for _, c := range []struct {
		status int
		expect []int
		ok     bool
	}{
		{200, nil, true}, {299, nil, true}, {404, nil, false}, {500, nil, false},
		{404, []int{200, 404}, true}, {201, []int{200}, false},
		{302, []int{302}, true}, {302, nil, true}, // followed
	} {
		answer, err := k.do(t, HTTP{URL: fmt.Sprintf("%s/%d", s.URL, c.status), Expect: c.expect})
		if c.ok {
			require.NoError(t, err, c)
			continue
		}
		require.ErrorContains(t, err, fmt.Sprintf("status %d %s: no no", c.status, http.StatusText(c.status)))
		require.Less(t, len(err.Error()), 300)
		require.Equal(t, c.status, answer.Status, "the answer is kept also then")
		require.False(t, jobs.IsPermanent(err), "it may heal")
	}
	answer, err := k.do(t, HTTP{Method: "HEAD", URL: s.URL + "/200"})
	require.NoError(t, err)
	require.Empty(t, answer.Body)
}

func TestHTTP_AnExchangeThatTakesTooLongFailsTheAttempt(t *testing.T) {
	t.Parallel()
	s := serve(t, "127.0.0.1", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow-body" {
			w.WriteHeader(http.StatusOK)
			w.(http.Flusher).Flush()
		}
		<-r.Context().Done()
	})
	for _, path := range []string{"/", "/slow-body"} {
		_, err := client(t, "127.0.0.1").do(t, HTTP{URL: s.URL + path, Timeout: "50ms"})
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorContains(t, err, "no complete answer within 50ms")
		require.False(t, jobs.IsPermanent(err))
	}
}

func TestHTTP_ARefusedAddressIsNotDialledAndNotTriedAgain(t *testing.T) {
	t.Parallel()
	inside := serve(t, "127.0.0.1", func(http.ResponseWriter, *http.Request) { t.Error("reached") })
	port := inside.URL[strings.LastIndex(inside.URL, ":"):]
	for _, url := range []string{inside.URL, "http://localhost" + port, "http://[::ffff:127.0.0.1]" + port, "http://0.0.0.0" + port} {
		_, err := client(t).do(t, HTTP{URL: url})
		require.ErrorContains(t, err, "is not allowed", url)
		require.ErrorContains(t, err, "WARREN_HTTP_ALLOW", url)
		require.True(t, jobs.IsPermanent(err), url)
	}
}

// A proxy of the environment would dial instead of the kind, without its check of addresses.
func TestHTTP_GoesThroughNoProxy(t *testing.T) {
	t.Parallel()
	require.Nil(t, client(t).transport.Proxy)
}

func TestHTTP_ARedirectToARefusedAddressIsNotFollowed(t *testing.T) {
	t.Parallel()
	inside := serve(t, "127.0.0.1", func(http.ResponseWriter, *http.Request) { t.Error("reached") })
	to := inside.URL
	outside := serve(t, "127.0.0.2", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, r.URL.Query().Get("to"), http.StatusFound)
	})
	k := client(t, "127.0.0.2/32")
	_, err := k.do(t, HTTP{URL: outside.URL + "?to=" + to})
	require.EqualError(t, err, "the address 127.0.0.1 is not allowed (loopback); allow it with WARREN_HTTP_ALLOW")
	require.True(t, jobs.IsPermanent(err))
	_, err = k.do(t, HTTP{URL: outside.URL + "?to=ftp://127.0.0.2/x"})
	require.ErrorContains(t, err, "only http and https")
	require.True(t, jobs.IsPermanent(err))
	_, err = k.do(t, HTTP{URL: outside.URL + "?to=/"}) // which redirects to an empty location: itself
	require.ErrorContains(t, err, "stopped after 10 redirects")
}

func TestHTTP_ANameThatResolvesToAPrivateAddressIsRefused(t *testing.T) {
	t.Parallel()
	k := client(t)
	k.resolver = resolveTo(t, netip.MustParseAddr("10.0.0.1"))
	_, err := k.do(t, HTTP{URL: "http://harmless.example/"})
	require.EqualError(t, err, "the host harmless.example is not allowed: it leads to an internal address; allow it with WARREN_HTTP_ALLOW",
		"which address it is, is the network's own business")
	require.True(t, jobs.IsPermanent(err))
}

func TestHTTP_ANameIsAllowedWhateverItResolvesTo(t *testing.T) {
	t.Parallel()
	s := serve(t, "127.0.0.1", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "in") })
	k := client(t, "hooks.internal")
	k.resolver = resolveTo(t, netip.MustParseAddr("127.0.0.1"))
	port := s.URL[strings.LastIndex(s.URL, ":"):]
	answer, err := k.do(t, HTTP{URL: "http://hooks.internal" + port})
	require.NoError(t, err)
	require.Equal(t, "in", answer.Body)
	_, err = k.do(t, HTTP{URL: "http://other.internal" + port})
	require.ErrorContains(t, err, "not allowed")
}

// resolveTo returns a resolver whose DNS server, on loopback, always answers addr.
func resolveTo(t *testing.T, addr netip.Addr) *net.Resolver {
	t.Helper()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = pc.Close() })
	go func() {
		buf := make([]byte, 1500)
		for {
			n, from, err := pc.ReadFrom(buf)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(buf[:n]) != nil {
				continue
			}
			m.Response, m.Additionals = true, nil
			if q := m.Questions[0]; q.Type == dnsmessage.TypeA {
				m.Answers = []dnsmessage.Resource{{Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class},
					Body: &dnsmessage.AResource{A: addr.As4()}}}
			}
			if raw, err := m.Pack(); err == nil {
				_, _ = pc.WriteTo(raw, from)
			}
		}
	}()
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp", pc.LocalAddr().String())
	}}
}

func TestHTTP_SecretsDoNotFollowARedirectToAnotherSite(t *testing.T) {
	t.Parallel()
	var got http.Header
	end := func(_ http.ResponseWriter, r *http.Request) { got = r.Header }
	other, samePort := serve(t, "127.0.0.2", end), serve(t, "127.0.0.1", end)
	var to string
	start := serve(t, "127.0.0.1", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/end" {
			end(w, r)
			return
		}
		http.Redirect(w, r, to, http.StatusTemporaryRedirect)
	})
	args := HTTP{Method: "POST", URL: start.URL + "/?key=secret", Body: "x",
		Headers: map[string]string{"Authorization": "Bearer secret", "Cookie": "a=secret", "X-Api-Key": "secret", "Accept": "text/plain"}}
	k := client(t, "127.0.0.0/8")
	for _, to = range []string{other.URL, samePort.URL, strings.Replace(other.URL, "//", "//user:secret@", 1)} {
		answer, err := k.do(t, args)
		require.NoError(t, err)
		require.NotContains(t, fmt.Sprint(got), "secret", to)
		require.Empty(t, got.Get("Referer"))
		require.Equal(t, "text/plain", got.Get("Accept"))
		require.NotContains(t, answer.URL, "secret")
	}
	to = start.URL + "/end"
	_, err := k.do(t, args)
	require.NoError(t, err)
	require.Equal(t, "secret", got.Get("X-Api-Key"), "the same site gets them")
}

func TestHTTP_ALongAnswerIsCutAndTheRestNotRead(t *testing.T) {
	t.Parallel()
	chunk := strings.Repeat("ü", 1<<15)
	s := serve(t, "127.0.0.1", func(w http.ResponseWriter, r *http.Request) {
		var to io.Writer = w
		switch r.URL.Path {
		case "/declared":
			w.Header().Set("Content-Length", fmt.Sprint(10<<20))
		case "/bomb":
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			defer func() { _ = z.Close() }()
			to = z
		}
		for range 10 << 20 / len(chunk) * 100 { // 1 GiB, if the client read it all
			if _, err := io.WriteString(to, chunk); err != nil {
				return
			}
		}
	})
	k := client(t, "127.0.0.1")
	for _, path := range []string{"/declared", "/endless", "/bomb"} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		answer, err := k.do(t, HTTP{URL: s.URL + path})
		runtime.ReadMemStats(&after)
		require.NoError(t, err, path)
		require.True(t, answer.Truncated, path)
		require.Equal(t, httpBodyMax, answer.BytesRead, path)
		require.Empty(t, answer.BodyEncoding)
		require.Equal(t, strings.Repeat("ü", httpBodyMax/2), answer.Body)
		require.Less(t, after.HeapInuse, before.HeapInuse+(100<<20), path)
		if path == "/declared" {
			require.EqualValues(t, 10<<20, *answer.BytesDeclared)
		}
	}
}

func TestHTTP_ABodyIsKeptAsTextOrBase64(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ contentType, body, text, excerpt string }{
		{"text/plain", "", "", ""},
		{"text/plain", "plain", "plain", "plain"},
		{"application/octet-stream", "ü", "ü", "ü"},
		{"", "ü", "ü", "ü"},
		{"application/octet-stream", "a\x00b", "", ""},
		{"application/octet-stream", "\xff\xfe", "", ""},
		{"image/png", "\x89PNG\xff", "", ""},
		{"", "ü\xc3", "", ""},
		{"text/html; charset=utf-8", "ü\xc3", "", "ü\uFFFD"},
		{"text/plain", "a\x00\xff", "", ""},
		{"text/html; charset=ISO-8859-1", "Gr\xf6\xdfe", "Größe", "Größe"},
		{`TEXT/HTML; Charset="latin1"`, "Gr\xf6\xdfe", "Größe", "Größe"},
		{"text/plain; charset=iso-8859-15", "\xa4 5", "€ 5", "€ 5"},
		{"text/plain; charset=windows-1251", "\xcf\xf0\xe8\xe2\xe5\xf2", "Привет", "Привет"},
		{"application/json; charset=Shift_JIS", "\"\x83\x65\x83\x58\x83\x67\"", `"テスト"`, `"テスト"`},
		{"text/plain; charset=euc-kr", "\xc7\xd1", "한", "한"},
		{"text/plain; charset=gb18030", "\xd6\xd0", "中", "中"},
		{"text/plain; charset=utf-16le", "a\x00\xfc\x00", "aü", "aü"},
		{"text/plain", "\xff\xfea\x00", "\uFEFFa", "\uFEFFa"},
		{"text/html", `<meta charset="koi8-r">` + "\xf0", `<meta charset="koi8-r">П`, `<meta charset="koi8-r">П`},
		{"text/html", "Gr\xf6\xdfe", "Größe", "Größe"}, // as browsers read it
		{"text/html; charset=klingon", "Gr\xf6\xdfe", "Größe", "Größe"},
		{"text/plain; charset=iso-8859-1", "Größe", "Größe", "Größe"}, // UTF-8, whatever it says
		{"text/plain; charset=iso-2022-kr", "\xf6", "", "\uFFFD"},     // an encoding that browsers refuse
	} {
		s := serve(t, "127.0.0.1", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", c.contentType)
			w.WriteHeader(http.StatusInternalServerError)
			fmt.Fprint(w, c.body)
		})
		answer, err := client(t, "127.0.0.1").do(t, HTTP{URL: s.URL})
		require.Equal(t, len(c.body), answer.BytesRead)
		want := "status 500 Internal Server Error"
		if c.excerpt != "" {
			want += ": " + c.excerpt
		}
		require.EqualError(t, err, "GET "+strings.TrimPrefix(s.URL, "http://")+": "+want, "%s %q", c.contentType, c.body)
		if c.text != "" || c.body == "" {
			require.Equal(t, c.text, answer.Body, "%s %q", c.contentType, c.body)
			require.Empty(t, answer.BodyEncoding)
			continue
		}
		require.Equal(t, "base64", answer.BodyEncoding, "%s %q", c.contentType, c.body)
		require.Equal(t, base64.StdEncoding.EncodeToString([]byte(c.body)), answer.Body)
	}
	for body, contentType := range map[string]string{"aü": "", "a中": "", "a\xd6\xd0": "text/plain; charset=gbk"} {
		got, ok := asText([]byte(body)[:2], contentType, true)
		require.True(t, ok)
		require.Equal(t, "a", got, "a cut body ends at a character")
	}
}

// rawAnswer serves these bytes as the answer to every request, and closes the connection.
func rawAnswer(t *testing.T, answer string) string {
	t.Helper()
	s := serve(t, "127.0.0.1", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		conn, rw, err := w.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		_, _ = rw.WriteString(answer)
		_ = rw.Flush()
		_ = conn.Close()
	})
	return s.URL
}

// The receiver has done its work when it answers 2xx: the request is not sent again because the rest of the
// answer was lost, unless it only reads.
func TestHTTP_AnAnswerThatBreaksOffCounts(t *testing.T) {
	t.Parallel()
	k := client(t, "127.0.0.1")
	for name, answer := range map[string]string{
		"too few bytes":      "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf of i",
		"no byte":            "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n",
		"no last chunk":      "HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhalf of i\r\n",
		"in a chunk":         "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n99\r\nhalf of i",
		"a broken chunk":     "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhalf of i\r\nzz\r\n",
		"a broken trailer":   "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: A\r\n\r\n9\r\nhalf of i\r\n0\r\nA",
		"compressed, by one": "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 10\r\n\r\n\x1f\x8b\x08\x00\x00\x00\x00\x00\x00",
	} {
		url := rawAnswer(t, answer)
		for _, method := range []string{"POST", "PUT", "PATCH", "DELETE"} {
			got, err := k.do(t, HTTP{Method: method, URL: url})
			require.NoError(t, err, "%s %s", method, name)
			if name != "no byte" { // a 204 has no body
				require.Contains(t, got.Incomplete, "read the answer: ", name)
			}
			require.Contains(t, []string{"", "half of i"}, got.Body, name)
		}
		if name == "no byte" {
			continue
		}
		got, err := k.do(t, HTTP{URL: url})
		require.ErrorContains(t, err, "read the answer: ", name)
		require.Equal(t, err.Error(), got.Incomplete)
		require.False(t, jobs.IsPermanent(err))
	}
	got, err := k.do(t, HTTP{Method: "POST", URL: rawAnswer(t, "HTTP/1.1 503 No\r\nRetry-After: 60\r\nContent-Length: 9\r\n\r\nlat")})
	require.ErrorContains(t, err, "status 503 Service Unavailable: lat", "the status says more than the end")
	require.Equal(t, time.Minute, jobs.RetryAfterOf(err))
	require.Contains(t, got.Incomplete, "unexpected EOF")
	got, err = k.do(t, HTTP{Method: "POST", URL: rawAnswer(t, "HTTP/1.1 200 OK\r\n\r\nall of it")})
	require.NoError(t, err)
	require.Empty(t, got.Incomplete, "an answer may end with its connection")
	for _, nothing := range []string{"", "HTTP/1.1 200 OK\r\nContent-Le"} {
		_, err = k.do(t, HTTP{Method: "POST", URL: rawAnswer(t, nothing)})
		require.Error(t, err, "it is not known what the receiver did")
		require.False(t, jobs.IsPermanent(err))
	}
}

func TestHTTP_AnErrorTellsNoAddressOfTheNetworkWithin(t *testing.T) {
	t.Parallel()
	for want, fault := range map[string]error{
		"no such host": &net.DNSError{Err: "no such host", Server: "10.9.8.7:53", IsNotFound: true},
		"did not answer": &net.DNSError{Err: "read udp 10.0.0.2:1->10.9.8.7:53: i/o timeout", Server: "10.9.8.7:53",
			IsTimeout: true},
		"the name server failed": &net.DNSError{Err: "server misbehaving", Server: "10.9.8.7:53", IsTemporary: true},
	} {
		err := HTTP{URL: "http://hooks.internal/"}.failed(t.Context(), &url.Error{Op: "Get", URL: "x", Err: &net.OpError{Op: "dial",
			Err: fault}})
		require.ErrorContains(t, err, want)
		require.ErrorContains(t, err, "GET hooks.internal: lookup ")
		require.NotContains(t, err.Error(), "10.9.8.7")
	}
}

func TestHTTP_HeadersOfAnAnswerAreBounded(t *testing.T) {
	t.Parallel()
	s := serve(t, "127.0.0.1", func(w http.ResponseWriter, r *http.Request) {
		n, size := 200, 100
		if r.URL.Path == "/huge" {
			n, size = 1, 1<<20
		}
		for i := range n {
			w.Header().Set(fmt.Sprintf("X-%d", i), strings.Repeat("x", size))
		}
		w.Header().Set("A-Long", strings.Repeat("x", 5000))
	})
	k := client(t, "127.0.0.1")
	answer, err := k.do(t, HTTP{URL: s.URL})
	require.NoError(t, err)
	require.Len(t, answer.Headers, httpHeadersMax)
	require.Less(t, len(answer.Headers["A-Long"]), 1010)
	_, err = k.do(t, HTTP{URL: s.URL + "/huge"})
	require.Error(t, err)
}

func TestHTTP_ASwitchedProtocolIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	s := serve(t, "127.0.0.1", func(w http.ResponseWriter, r *http.Request) {
		conn, rw, err := w.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		defer func() { _ = conn.Close() }()
		_, _ = rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
		_ = rw.Flush()
		_, _ = conn.Read(make([]byte, 1)) // until the client closes the connection
	})
	answer, err := client(t, "127.0.0.1").do(t, HTTP{URL: s.URL, Timeout: "10s"})
	require.ErrorContains(t, err, "status 101")
	require.Equal(t, 101, answer.Status)
}

func TestHTTP_AWrongRequestIsNamedByFieldAtSubmission(t *testing.T) {
	t.Parallel()
	r, err := jobs.NewRegistry(BuiltIn(Config{})...)
	require.NoError(t, err)
	for args, field := range map[string]string{
		`{"url":"https://example.com"}`: "",
		`{"url":"http://example.com:8080/a?b=c#d","method":"POST","body":"x","expect":[200,404],"timeout":"10m","headers":{"X-A":"b"}}`: "",
		`{"url":"http://127.0.0.1:1/","expect":[200.0,2.01e2]}`:                                                                         "",
		`{"url":"http://[::1]:80/"}`:                                               "",
		`{}`:                                                                       "args.url",
		`{"url":""}`:                                                               "args.url",
		`{"url":"example.com"}`:                                                    "args.url",
		`{"url":"ftp://example.com"}`:                                              "args.url",
		`{"url":"http://"}`:                                                        "args.url",
		`{"url":"http:///path"}`:                                                   "args.url",
		`{"url":"http://:80/"}`:                                                    "args.url",
		`{"url":"http:example.com"}`:                                               "args.url",
		`{"url":"http://a b/"}`:                                                    "args.url",
		`{"url":"http://example.com:99999/"}`:                                      "args.url",
		`{"url":"http://user:secret@example.com/"}`:                                "args.url",
		`{"url":"http://user:secret@exa mple/"}`:                                   "args.url",
		`{"url":"http://example.com","method":"get"}`:                              "args.method",
		`{"url":"http://example.com","body":"x"}`:                                  "args.body",
		`{"url":"http://example.com","method":"HEAD","body":"x"}`:                  "args.body",
		`{"url":"http://example.com","headers":{"a b":"c"}}`:                       "args.headers",
		`{"url":"http://example.com","headers":{"A":"b\r\nC: d"}}`:                 "args.headers",
		`{"url":"http://example.com","headers":{"host":"x"}}`:                      "args.headers",
		`{"url":"http://example.com","headers":{"Transfer-Encoding":"x"}}`:         "args.headers",
		`{"url":"http://example.com","headers":{"A":1}}`:                           "args.headers.A",
		`{"url":"http://example.com","expect":[99]}`:                               "args.expect.0",
		`{"url":"http://example.com","expect":["200"]}`:                            "args.expect.0",
		`{"url":"http://example.com","timeout":"soon"}`:                            "args.timeout",
		`{"url":"http://example.com","timeout":"11m"}`:                             "args.timeout",
		`{"url":"http://example.com","timeout":"0s"}`:                              "args.timeout",
		`{"url":"http://example.com","timeout":"-1s"}`:                             "args.timeout",
		`{"url":"http://example.com","expect":[1` + strings.Repeat("0", 30) + `]}`: "args.expect.0",
	} {
		err := r.Check("http", json.RawMessage(args))
		if field == "" {
			require.NoError(t, err, args)
			continue
		}
		var wrong jobs.FieldErrors
		require.ErrorAs(t, err, &wrong, args)
		require.Len(t, wrong, 1, args)
		require.Equal(t, field, wrong[0].Field, args)
		require.NotContains(t, err.Error(), "secret", "no password is repeated")
	}
}

func TestHTTP_ACertificateIsChecked(t *testing.T) {
	t.Parallel()
	s := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(s.Close)
	k := client(t, "127.0.0.1")
	_, err := k.do(t, HTTP{URL: s.URL})
	require.ErrorContains(t, err, "certificate")
	k.transport.TLSClientConfig = &tls.Config{RootCAs: x509.NewCertPool()}
	k.transport.TLSClientConfig.RootCAs.AddCert(s.Certificate())
	_, err = k.do(t, HTTP{URL: s.URL})
	require.NoError(t, err)
}

func TestHTTP_AServerThatDoesNotAnswerFailsTheAttempt(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	_, err = client(t, "127.0.0.1").do(t, HTTP{URL: "http://" + l.Addr().String() + "/?key=secret", Timeout: "5s"})
	var op *net.OpError
	require.ErrorAs(t, err, &op)
	require.NotContains(t, err.Error(), "secret")
	require.False(t, jobs.IsPermanent(err))
}

func TestHTTP_ARetryComesNoEarlierThanTheServerAsksFor(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	for header, want := range map[string]time.Duration{"": 0, "120": 2 * time.Minute, "-5": 0, "soon": 0, "0": 0, " 120 ": 2 * time.Minute,
		"120, 60": 0, "1.5": 1500 * time.Millisecond, "NaN": 0, "99999999999999": jobs.RetryAfterMax, "1e999": jobs.RetryAfterMax,
		strings.Repeat("9", 1000): jobs.RetryAfterMax, "PT2M": 0, "2m": 0,
		"Mon, 30 Nov 2026 12:02:00 GMT": 2 * time.Minute, "Mon, 30 Nov 2026 11:00:00 GMT": 0,
		"Mon, 30 Nov 9999 12:00:00 GMT":  jobs.RetryAfterMax,
		"Monday, 30-Nov-26 12:02:00 GMT": 2 * time.Minute, "Mon Nov 30 12:02:00 2026": 2 * time.Minute, "2026-11-30T12:02:00Z": 0} {
		require.Equal(t, want, retryAfter(&http.Response{Header: http.Header{"Retry-After": {header}}}, now), header)
	}
	err := fmt.Errorf("charge: %w", jobs.RetryAfter(&statusError{status: 429}, 48*time.Hour))
	require.Equal(t, jobs.RetryAfterMax, jobs.RetryAfterOf(err), "but no more than a day")
	var status *statusError
	require.ErrorAs(t, err, &status, "the class of the error is that of the answer")
	require.Zero(t, jobs.RetryAfterOf(errors.New("x")))
	require.NoError(t, jobs.RetryAfter(nil, time.Second))
}

// FuzzRetryAfter checks that a wait is within its bounds, whatever a server asks for.
func FuzzRetryAfter(f *testing.F) {
	for _, value := range []string{"120", "-5", "1e999", "NaN", "Mon, 30 Nov 2026 12:02:00 GMT", "Mon Nov 30 12:02:00 2026", "0x1p-2",
		"Inf"} {
		f.Add(value)
	}
	now := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, value string) {
		wait := retryAfter(&http.Response{Header: http.Header{"Retry-After": {value}}}, now)
		require.GreaterOrEqual(t, wait, time.Duration(0))
		require.LessOrEqual(t, wait, jobs.RetryAfterMax)
	})
}

// FuzzAsText checks that any body is kept as text that the database takes, or as bytes.
func FuzzAsText(f *testing.F) {
	for _, c := range [][2]string{{"text/html; charset=ISO-8859-1", "Gr\xf6\xdfe"}, {"", "ü\xc3"}, {"text/plain; charset=utf-16",
		"\xff\xfea\x00"},
		{"text/html", `<meta http-equiv="content-type" content="text/html; charset=gbk">` + "\xd6"}, {"a; charset=\"", "\x00"},
		{"text/plain; charset=iso-2022-jp", "\x1b$B"}, {"text/x", "ւ\xdd"}, {"text/plain; charset=hz-gb-2312", "~{"}} {
		f.Add(c[0], []byte(c[1]), true)
	}
	f.Fuzz(func(t *testing.T, contentType string, body []byte, isCut bool) {
		text, whole := asText(body, contentType, isCut)
		require.True(t, jobs.PlainText(text), "%q", text)
		require.True(t, whole || !jobs.PlainText(string(body)), "text stays text")
		require.LessOrEqual(t, len(text), 3*len(body)+3)
		require.LessOrEqual(t, len(cut(text, httpExcerpt)), httpExcerpt+len("…"))
	})
}

// FuzzHTTPArgs checks that args which are valid make a request that can be written.
func FuzzHTTPArgs(f *testing.F) {
	f.Add("POST", "https://example.com:8080/a?b=c#d", "X-Key", "k", "body", "30s")
	f.Add("GET", "http://müller.example/ü?q=a b", "Cookie", "a=b; c", "", "1h")
	f.Add("GET", "http://[fe80::1%25eth0]:1/%zz", "host", "x\r\ny", "", "+5m")
	f.Add("PUT", "http://ex%41mple/../..//x;y", "A\x00", "\x7f", "\xff", "1e3s")
	f.Fuzz(func(t *testing.T, method, url, name, value, body, timeout string) {
		args := HTTP{Method: method, URL: url, Headers: map[string]string{name: value}, Body: body, Timeout: timeout}
		if args.Validate() != nil || !slices.Contains([]string{"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"}, method) {
			return
		}
		d, err := args.timeout()
		require.NoError(t, err)
		require.Positive(t, d)
		req, err := newHTTPKind(Config{}).request(t.Context(), &jobs.Run{ID: run1, Attempt: 1}, args)
		require.NoError(t, err, "%q", url)
		var wire strings.Builder
		if err := req.Write(&wire); err != nil {
			return // a host that cannot be looked up
		}
		got, err := http.ReadRequest(bufio.NewReader(strings.NewReader(wire.String())))
		require.NoError(t, err, "%q", wire.String())
		require.LessOrEqual(t, len(got.Header), 7, "no value becomes another header: %q", wire.String())
	})
}
