package kinds

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"

	"golang.org/x/net/html/charset"
	"golang.org/x/net/http/httpguts"

	"github.com/warrenjobs/warren/jobs"
)

// Limits of an HTTP job and of the stored response.
const (
	httpTimeoutDefault = 30 * time.Second
	httpTimeoutMax     = 10 * time.Minute
	httpRedirectsMax   = 10
	httpBodyMax        = 64 << 10
	httpHeadersMax     = 64   // headers stored
	httpHeaderMax      = 1000 // bytes stored of one header
	httpExcerpt        = 200  // bytes of the body in an error
)

// HTTP sends one request. A job may run more than once: a receiver recognises a duplicate by the
// header Idempotency-Key, which is the id of the job.
type HTTP struct {
	Method  string            `json:"method,omitempty" jsonschema:"title=Method,enum=GET,enum=POST,enum=PUT,enum=PATCH,enum=DELETE,enum=HEAD,default=GET"`
	URL     string            `json:"url" jsonschema:"title=URL,minLength=1,maxLength=8000,example=https://example.com/hook"`
	Headers map[string]string `json:"headers,omitempty" jsonschema:"title=Headers" jsonschema_description:"For example, {\"Authorization\": \"Bearer …\"}. Visible to anyone who can view this job."`
	Body    string            `json:"body,omitempty" jsonschema:"title=Body" jsonschema_extras:"contentMediaType=application/octet-stream"`
	Expect  []int             `json:"expect,omitempty" jsonschema:"title=Expected status,minimum=200,maximum=599" jsonschema_description:"For example, [200, 404]. Default: any 2xx. An expected redirect is not followed."`
	Timeout string            `json:"timeout,omitempty" jsonschema:"title=Request timeout,default=30s,example=30s" jsonschema_description:"For the whole request, redirects included. At most 10m."`
}

// Kind returns "http".
func (HTTP) Kind() string { return "http" }

// Description returns the kind's description for people.
func (HTTP) Description() string {
	return "Sends an HTTP request and stores the response. An unexpected status fails the attempt."
}

// ownHeaders are the connection's own headers, which the HTTP client sets itself.
var ownHeaders = []string{"Connection", "Content-Length", "Host", "Keep-Alive", "Proxy-Authorization", "Proxy-Connection", "Te", "Trailer",
	"Transfer-Encoding", "Upgrade"}

// Validate checks the rules that the schema cannot express. The error is FieldErrors.
func (a HTTP) Validate() error {
	var wrong jobs.FieldErrors
	add := func(field, format string, args ...any) {
		wrong = append(wrong, jobs.FieldError{Field: field, Message: fmt.Sprintf(format, args...)})
	}
	if err := checkURL(a.URL); err != nil {
		add("url", "%s", err)
	}
	for _, name := range slices.Sorted(maps.Keys(a.Headers)) {
		switch {
		case !httpguts.ValidHeaderFieldName(name):
			add("headers", "%q is not a valid header name", name)
		case slices.Contains(ownHeaders, http.CanonicalHeaderKey(name)):
			add("headers", "%s belongs to the connection and cannot be set", name)
		case !httpguts.ValidHeaderFieldValue(a.Headers[name]):
			add("headers", "the value of %s has a line break or another control character", name)
		}
	}
	if a.Body != "" && a.onlyReads() {
		add("body", "cannot be sent with %s", a.method())
	}
	if d, err := a.timeout(); err != nil || d < time.Millisecond || d > httpTimeoutMax {
		add("timeout", "must be a duration such as 30s, at most 10m")
	}
	if wrong == nil {
		return nil
	}
	return wrong
}

// checkURL validates s. Its errors do not repeat the URL, which may contain a password.
func checkURL(s string) error {
	u, err := url.Parse(s)
	switch {
	case err != nil, u.Scheme != "http" && u.Scheme != "https", u.Hostname() == "":
		return errors.New("must be an address such as https://example.com/path")
	case u.User != nil:
		return errors.New("must not hold a user or password: give a header Authorization")
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
			return errors.New("has a port that is not between 1 and 65535")
		}
	}
	return nil
}

func (a HTTP) method() string {
	if a.Method == "" {
		return http.MethodGet
	}
	return a.Method
}

func (a HTTP) timeout() (time.Duration, error) {
	if a.Timeout == "" {
		return httpTimeoutDefault, nil
	}
	return time.ParseDuration(a.Timeout)
}

func (a HTTP) expected(status int) bool {
	if len(a.Expect) == 0 {
		return status >= 200 && status <= 299
	}
	return slices.Contains(a.Expect, status)
}

// httpKind runs HTTP jobs.
type httpKind struct {
	allow     HTTPAllow
	agent     string
	transport *http.Transport
	resolver  *net.Resolver // nil: the system's
}

func newHTTPKind(cfg Config) *httpKind {
	k := &httpKind{allow: cfg.HTTPAllow, agent: "Warren/" + cfg.Version}
	k.transport = &http.Transport{ // no Proxy: it would dial instead of us, without our address check
		DialContext:            k.dial,
		DisableKeepAlives:      true, // the client would silently resend the request when a reused connection turns out closed
		TLSHandshakeTimeout:    httpTimeoutDefault,
		MaxResponseHeaderBytes: 64 << 10,
	}
	return k
}

// dial checks the actual address that it connects to, so that neither a redirect nor a changed
// DNS answer can bypass the check.
func (k *httpKind) dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	d := net.Dialer{Resolver: k.resolver, ControlContext: func(_ context.Context, _, address string, _ syscall.RawConn) error {
		to, err := netip.ParseAddrPort(address)
		if err != nil {
			return err
		}
		return k.allow.check(host, to.Addr())
	}}
	return d.DialContext(ctx, network, address)
}

func (k *httpKind) run(ctx context.Context, run *jobs.Run, args HTTP) error {
	timeout, err := args.timeout()
	if err != nil {
		return jobs.Permanent(err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("no complete answer within %s: %w", timeout, context.DeadlineExceeded))
	defer cancel()
	req, err := k.request(ctx, run, args)
	if err != nil {
		return jobs.Permanent(err)
	}
	began := time.Now()
	client := http.Client{Transport: k.transport, CheckRedirect: args.redirect}
	resp, err := client.Do(req)
	if err != nil {
		return args.failed(ctx, err)
	}
	defer func() { _ = resp.Body.Close() }()
	got, text, broken := readAnswer(resp)
	if broken != nil {
		broken = args.failed(ctx, broken)
		got.Incomplete = broken.Error()
	}
	got.TookMS = time.Since(began).Milliseconds()
	if err := run.Output(got); err != nil {
		return err
	}
	switch {
	case !args.expected(resp.StatusCode):
		refused := &statusError{args.method(), resp.Request.URL.Host, resp.StatusCode, text}
		return jobs.RetryAfter(refused, retryAfter(resp, time.Now()))
	case args.onlyReads():
		return broken
	}
	return nil // the receiver has done its work, even if its answer broke off: it must not do it again
}

// onlyReads reports whether the request changes nothing at the receiver, so that its answer is all it is for.
func (a HTTP) onlyReads() bool { return a.method() == http.MethodGet || a.method() == http.MethodHead }

// retryAfter returns the wait that a response asks for (RFC 9110, section 10.2.3): a number of
// seconds or a date; 0 without one, or one that cannot be read.
func retryAfter(resp *http.Response, now time.Time) time.Duration {
	value := strings.TrimSpace(resp.Header.Get("Retry-After"))
	if seconds, _ := strconv.ParseFloat(value, 64); seconds > 0 { // infinite where it is too large
		return time.Duration(min(seconds, jobs.RetryAfterMax.Seconds()) * float64(time.Second))
	}
	if at, err := http.ParseTime(value); err == nil {
		return min(max(at.Sub(now), 0), jobs.RetryAfterMax)
	}
	return 0
}

func (k *httpKind) request(ctx context.Context, run *jobs.Run, args HTTP) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, args.method(), args.URL, strings.NewReader(args.Body))
	if err != nil {
		return nil, errors.New("the request cannot be made of these args")
	}
	if args.Body != "" {
		req.Header.Set("Content-Type", "text/plain; charset=utf-8")
		if json.Valid([]byte(args.Body)) {
			req.Header.Set("Content-Type", "application/json")
		}
	}
	req.Header.Set("User-Agent", k.agent)
	req.Header.Set("Idempotency-Key", run.ID.String())
	req.Header.Set("Warren-Attempt", strconv.Itoa(run.Attempt))
	for name, value := range args.Headers {
		req.Header.Set(name, value)
	}
	return req, nil
}

// travelling lists the headers that are sent along with a redirect to another site, because they
// contain no secrets.
var travelling = []string{"Accept", "Accept-Language", "Content-Type", "Idempotency-Key", "User-Agent", "Warren-Attempt"}

// redirect decides whether to follow a redirect, and with which headers. net/http drops too few:
// it keeps X-Api-Key, and treats another port or plain http of a host as the same host.
func (a HTTP) redirect(req *http.Request, via []*http.Request) error {
	if slices.Contains(a.Expect, req.Response.StatusCode) {
		return http.ErrUseLastResponse
	}
	if len(via) > httpRedirectsMax {
		return fmt.Errorf("stopped after %d redirects", httpRedirectsMax)
	}
	if req.URL.Scheme != "http" && req.URL.Scheme != "https" {
		return jobs.Permanent(fmt.Errorf("a redirect leads to %q: only http and https are followed", req.URL.Scheme))
	}
	req.URL.User = nil
	req.Header.Del("Referer") // the query may hold a key
	for _, r := range append(via[1:], req) {
		if !sameSite(via[0].URL, r.URL) {
			maps.DeleteFunc(req.Header, func(name string, _ []string) bool { return !slices.Contains(travelling, name) })
			break
		}
	}
	return nil
}

// sameSite reports whether to has the host, scheme and port of from, or upgrades it from http to https.
func sameSite(from, to *url.URL) bool {
	same := from.Scheme == to.Scheme && from.Port() == to.Port()
	upgrade := to.Scheme == "https" && from.Port() == "" && to.Port() == ""
	return strings.EqualFold(from.Hostname(), to.Hostname()) && (same || upgrade)
}

// failed returns the error of a request without a complete response, in which no secret of the URL is
// repeated. For a refused address it is permanent.
func (a HTTP) failed(ctx context.Context, err error) error {
	var refused *refusedError
	if errors.As(err, &refused) {
		return jobs.Permanent(refused)
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if u := (*url.Error)(nil); errors.As(err, &u) { // its text contains the URL, and so any keys in the query
		err = u.Err
	}
	if lookup := (*net.DNSError)(nil); errors.As(err, &lookup) {
		err = withoutServer(lookup)
	}
	host := ""
	if u, bad := url.Parse(a.URL); bad == nil {
		host = u.Host
	}
	return fmt.Errorf("%s %s: %w", a.method(), host, err)
}

// withoutServer returns the error of a lookup without the addresses of name servers, which are the network's own.
func withoutServer(e *net.DNSError) error {
	short := net.DNSError{Err: "the name server failed", Name: e.Name, IsNotFound: e.IsNotFound, IsTimeout: e.IsTimeout}
	switch {
	case e.IsNotFound:
		short.Err = "no such host"
	case e.IsTimeout:
		short.Err = "the name server did not answer"
	}
	return &short
}

// statusError reports a response whose status is not an expected one.
type statusError struct {
	method, host string
	status       int
	body         string
}

func (e *statusError) Error() string {
	s := fmt.Sprintf("%s %s: status %d %s", e.method, e.host, e.status, http.StatusText(e.status))
	if e.body != "" {
		s += ": " + e.body
	}
	return s
}

// httpAnswer is the output of an HTTP job: the response.
type httpAnswer struct {
	Status       int               `json:"status"`
	URL          string            `json:"url"` // after redirects
	Headers      map[string]string `json:"headers"`
	Body         string            `json:"body"`
	BodyEncoding string            `json:"body_encoding,omitempty"` // "base64" if the body is not text
	// BytesRead is the number of bytes read of the uncompressed body; BytesDeclared is the Content-Length.
	BytesRead     int    `json:"bytes_read"`
	BytesDeclared *int64 `json:"bytes_declared,omitempty"`
	Truncated     bool   `json:"truncated,omitempty"`
	// Incomplete is why the body ended early; empty if it did not.
	Incomplete string `json:"incomplete,omitempty"`
	TookMS     int64  `json:"took_ms"`
}

// readAnswer reads the response, but only as much of its body as is stored: a longer one is
// truncated and its connection closed. It also returns an excerpt of the body for an error. With an
// error, the body ended early, and what came of it is there.
func readAnswer(resp *http.Response) (got httpAnswer, excerpt string, err error) {
	to := *resp.Request.URL
	to.User = nil
	got = httpAnswer{Status: resp.StatusCode, URL: to.String(), Headers: keptHeaders(resp.Header)}
	if resp.ContentLength >= 0 {
		got.BytesDeclared = &resp.ContentLength
	}
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return got, "", nil // its body is the raw connection, on which no timeout applies
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, httpBodyMax+1))
	if err != nil {
		err = fmt.Errorf("read the answer: %w", err)
	}
	if len(body) > httpBodyMax {
		body, got.Truncated = body[:httpBodyMax], true
	}
	got.BytesRead = len(body)
	text, whole := asText(body, resp.Header.Get("Content-Type"), got.Truncated || err != nil)
	if got.Body = text; !whole {
		got.Body, got.BodyEncoding = base64.StdEncoding.EncodeToString(body), "base64"
	}
	return got, cut(text, httpExcerpt), err
}

// asText returns body as text; whole reports whether nothing of it was lost. Text that is not UTF-8 is read by
// the encoding that its Content-Type or the page itself names. For what is not text it returns "".
func asText(body []byte, contentType string, isCut bool) (text string, whole bool) {
	if text = withoutPart(body, isCut); jobs.PlainText(text) {
		return text, true
	}
	media, params, _ := mime.ParseMediaType(contentType)
	if !strings.HasPrefix(media, "text/") && params["charset"] == "" {
		return "", false
	}
	encoding, _, _ := charset.DetermineEncoding(body, contentType)
	decoded, err := encoding.NewDecoder().String(string(body))
	decoded = strings.ToValidUTF8(decoded, "\uFFFD") // UTF-8 is passed through
	if isCut {
		decoded = strings.TrimSuffix(decoded, "\uFFFD")
	}
	if err != nil || strings.ContainsRune(decoded, 0) {
		return "", false
	}
	return decoded, !strings.ContainsRune(decoded, utf8.RuneError)
}

// withoutPart returns body without the beginning of a UTF-8 character at its end, if it was cut.
func withoutPart(body []byte, isCut bool) string {
	for drop := 1; isCut && drop < utf8.UTFMax && drop <= len(body); drop++ {
		if tail := body[len(body)-drop:]; utf8.RuneStart(tail[0]) {
			if !utf8.FullRune(tail) {
				body = body[:len(body)-drop]
			}
			break
		}
	}
	return string(body)
}

// cut shortens s to about n bytes, at a character boundary.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}

// keptHeaders returns the headers to store, without cookies, which are secrets.
func keptHeaders(h http.Header) map[string]string {
	kept := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(h)) {
		if name == "Set-Cookie" || len(kept) == httpHeadersMax {
			continue
		}
		kept[strings.ToValidUTF8(name, "?")] = cut(strings.ToValidUTF8(strings.Join(h[name], ", "), "?"), httpHeaderMax)
	}
	return kept
}
