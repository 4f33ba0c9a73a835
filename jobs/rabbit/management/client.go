// Package management is a small client for the HTTP API of RabbitMQ's
// management plugin, as served by 3.10 to 4.x. It asks only for the fields that
// Warren uses and keeps apart what the broker says (also 0) from what it does
// not say (nil).
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
	"time"
)

const (
	// timeoutDefault is the hard limit of one call with its body. 6,000 queues
	// have been seen to take 8 s, and a 3.10 cluster with a node down 40 s: by
	// then somebody waits for nothing.
	timeoutDefault = 15 * time.Second
	dialTimeout    = 3 * time.Second
	bodyMax        = 64 << 20
	errorBodyMax   = 64 << 10
)

// Client asks one broker. Safe for concurrent use; it keeps its connections alive.
type Client struct {
	base     string
	user     string
	password string
	http     *http.Client
}

// Option changes a client.
type Option func(*Client)

// WithTimeout sets how long one call may take, its body included. The default is 15 s.
func WithTimeout(d time.Duration) Option { return func(c *Client) { c.http.Timeout = d } }

// WithTLS sets the authorities and the client certificate for an https URL.
func WithTLS(cfg *tls.Config) Option {
	return func(c *Client) { c.http.Transport.(*http.Transport).TLSClientConfig = cfg }
}

// New makes a client for a URL such as http://user:password@host:15672, with a
// path where the API has a prefix. It does not connect. No error, now or later,
// carries the password.
func New(rawURL string, opts ...Option) (*Client, error) {
	u, err := url.Parse(rawURL)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return nil, errors.New("the management URL is not of the form http://user:password@host:15672")
	}
	c := &Client{http: &http.Client{
		Timeout:       timeoutDefault,
		Transport:     transport(),
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // the password goes nowhere else
	}}
	if u.User != nil {
		c.user = u.User.Username()
		c.password, _ = u.User.Password()
	}
	c.base = (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: strings.TrimRight(u.Path, "/")}).String()
	for _, opt := range opts {
		opt(c)
	}
	return c, nil
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

// Address is the URL without the account, to be shown.
func (c *Client) Address() string { return c.base }

// get reads the answer of path into out, which may be a pointer to a slice.
func (c *Client) get(ctx context.Context, path string, columns []string, out any) error {
	if len(columns) > 0 {
		path += "?columns=" + strings.Join(columns, ",")
	}
	return c.do(ctx, http.MethodGet, path, nil, out)
}

func (c *Client) do(ctx context.Context, method, path string, in, out any) error {
	req, err := c.request(ctx, method, path, in)
	if err != nil {
		return fmt.Errorf("ask %s for %s: %w", c.base, path, err)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return fmt.Errorf("ask %s for %s: %w", c.base, route(path), cause(err))
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode >= 300 {
		return c.refusal(method, path, resp)
	}
	body, err := readAtMost(resp.Body, bodyMax)
	if err != nil {
		return fmt.Errorf("read the answer of %s to %s: %w", c.base, route(path), cause(err))
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(body, out); err != nil {
		return fmt.Errorf("understand the answer of %s to %s: %w", c.base, route(path), err)
	}
	return nil
}

func (c *Client) request(ctx context.Context, method, path string, in any) (*http.Request, error) {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return nil, err
	}
	req.SetBasicAuth(c.user, c.password)
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

// cause drops net/http's "Get \"http://…\":", as the callers name the address.
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

// route is path without its query, for messages.
func route(path string) string {
	p, _, _ := strings.Cut(path, "?")
	return p
}

// path joins segments behind /api, each escaped: the vhost "/" becomes %2F.
func path(segments ...string) string {
	p := "/api"
	for _, s := range segments {
		p += "/" + url.PathEscape(s)
	}
	return p
}
