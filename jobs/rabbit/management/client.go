// Package management is a small client for the HTTP API of RabbitMQ's management plugin, for 3.10 to
// 4.x. It requests only the fields that Warren uses, and distinguishes values that the broker reports
// (including 0) from those that it does not (nil).
package management

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"
)

const (
	// timeoutDefault is the hard limit of one call, including its body. 6,000 queues have been
	// seen to take 8 s, and a 3.10 cluster with a node down 40 s, which is not worth waiting for.
	timeoutDefault = 15 * time.Second
	dialTimeout    = 3 * time.Second
	bodyMax        = 64 << 20
	errorBodyMax   = 64 << 10
)

// Client calls the management API of one broker, which may have several nodes: each of them knows the
// whole cluster, and if one does not answer, the next is tried. It keeps its connections alive and is
// safe for concurrent use.
type Client struct {
	nodes   []node
	current atomic.Int32 // the node that answered last
	http    *http.Client
}

// node is the address and the account of one management API.
type node struct{ base, user, password string }

// Option configures a client.
type Option func(*Client)

// WithTimeout limits one call, including its body. The default is 15 s.
func WithTimeout(d time.Duration) Option { return func(c *Client) { c.http.Timeout = d } }

// WithTLS sets the certificate authorities and the client certificate for an https URL.
func WithTLS(cfg *tls.Config) Option {
	return func(c *Client) { c.http.Transport.(*http.Transport).TLSClientConfig = cfg }
}

// New returns a client for a URL such as http://user:password@host:15672, with a path if the API has
// a prefix (/api at its end makes no difference), or for several URLs, separated by commas. It does not connect. Neither its error nor
// those of the client's methods contain the password.
func New(rawURL string, opts ...Option) (*Client, error) {
	c := &Client{http: &http.Client{
		Timeout:       timeoutDefault,
		Transport:     transport(),
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // never send the password elsewhere
	}}
	for _, part := range strings.Split(rawURL, ",") {
		n, err := parse(strings.TrimSpace(part))
		if err != nil {
			return nil, err
		}
		c.nodes = append(c.nodes, n)
	}
	for _, opt := range opts {
		opt(c)
	}
	return c, nil
}

func parse(rawURL string) (node, error) {
	u, err := url.Parse(rawURL)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return node{}, errors.New("the management URL is not of the form http://user:password@host:15672")
	}
	base := strings.TrimRight(strings.TrimSuffix(strings.TrimRight(u.Path, "/"), "/api"), "/")
	n := node{base: (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: base}).String()}
	if u.User != nil {
		n.user = u.User.Username()
		n.password, _ = u.User.Password()
	}
	return n, nil
}

func transport() *http.Transport {
	return &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: dialTimeout, KeepAlive: 15 * time.Second}).DialContext,
		TLSHandshakeTimeout: dialTimeout,
		MaxIdleConnsPerHost: 4,
		MaxConnsPerHost:     8,
		IdleConnTimeout:     90 * time.Second,
	}
}

// node returns the current node.
func (c *Client) node() node { return c.nodes[int(c.current.Load())%len(c.nodes)] }

// Address returns the URL of the current node without the account, for display.
func (c *Client) Address() string { return c.node().base }

// get decodes the answer to path into out, which may be a pointer to a slice.
func (c *Client) get(ctx context.Context, path string, columns []string, out any) error {
	if len(columns) > 0 {
		path += "?columns=" + strings.Join(columns, ",")
	}
	return c.do(ctx, http.MethodGet, path, nil, out)
}

// do tries one node after the other until one answers, even if with a refusal. A node that did not
// answer is tried last from then on.
func (c *Client) do(ctx context.Context, method, path string, in, out any) (err error) {
	for range c.nodes {
		current := c.current.Load()
		err = c.ask(ctx, c.node(), method, path, in, out)
		var silent silence
		if !errors.As(err, &silent) || errors.Is(ctx.Err(), context.Canceled) {
			return err
		}
		c.current.CompareAndSwap(current, (current+1)%int32(len(c.nodes)))
		if ctx.Err() != nil || method != http.MethodGet && !silent.unasked() {
			return err
		}
	}
	return err
}

// silence is the error of a node that did not answer.
type silence struct{ error }

func (s silence) Unwrap() error { return s.error }

// unasked reports whether the node cannot have received the request.
func (s silence) unasked() bool {
	var op *net.OpError
	return errors.As(s.error, &op) && op.Op == "dial"
}

func (c *Client) ask(ctx context.Context, n node, method, path string, in, out any) error {
	req, err := n.request(ctx, method, path, in)
	if err != nil {
		return fmt.Errorf("ask %s for %s: %w", n.base, path, err)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return fmt.Errorf("ask %s for %s: %w", n.base, route(path), silence{cause(err)})
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode >= 300 {
		return n.refusal(method, path, resp)
	}
	body, err := readAtMost(resp.Body, bodyMax)
	if err != nil {
		return fmt.Errorf("read the answer of %s to %s: %w", n.base, route(path), silence{cause(err)})
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(validText(body), out); err != nil {
		return fmt.Errorf("understand the answer of %s to %s: %w", n.base, route(path), err)
	}
	return nil
}

func (n node) request(ctx context.Context, method, path string, in any) (*http.Request, error) {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, n.base+path, body)
	if err != nil {
		return nil, err
	}
	req.SetBasicAuth(n.user, n.password)
	req.Header.Set("Accept", "application/json")
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	return req, nil
}

func readAtMost(r io.Reader, limit int64) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err == nil && int64(len(body)) > limit {
		err = fmt.Errorf("it has more than %d MB", limit>>20)
	}
	return body, err
}

// validText replaces what is not UTF-8 in an answer: names and arguments may come from anywhere, and
// one of them must not keep the rest from being read and saved.
func validText(body []byte) []byte {
	if utf8.Valid(body) {
		return body
	}
	return bytes.ToValidUTF8(body, []byte("\uFFFD"))
}

// cause removes net/http's "Get \"http://…\":", because the callers name the address.
func cause(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		if u.Timeout() && !errors.Is(u.Err, context.Canceled) {
			return fmt.Errorf("no answer in time: %w", u.Err)
		}
		return u.Err
	}
	return err
}

// route returns path without its query, for messages.
func route(path string) string {
	p, _, _ := strings.Cut(path, "?")
	return p
}

// path returns /api followed by the segments, each escaped: the vhost "/" becomes %2F.
func path(segments ...string) string {
	p := "/api"
	for _, s := range segments {
		p += "/" + url.PathEscape(s)
	}
	return p
}
