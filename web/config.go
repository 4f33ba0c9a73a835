// Package web is the program around a warren.Client: configuration, private
// servers, HTTP server, commands. It decides nothing about jobs.
package web

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/caarlos0/env/v11"

	"github.com/warrenjobs/warren"
	"github.com/warrenjobs/warren/handlers"
	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/jobs/kinds"
	"github.com/warrenjobs/warren/jobs/rabbit"
	"github.com/warrenjobs/warren/store"
)

// Config is everything that can be set, by environment, .env file or flag.
// docs/config.md lists the same.
type Config struct {
	DatabaseURL   string   `env:"DATABASE_URL"`
	AMQPURL       string   `env:"AMQP_URL"`
	RabbitMQURL   string   `env:"RABBITMQ_URL"`            // another name of AMQP_URL
	CloudAMQPURL  string   `env:"CLOUDAMQP_URL"`           // and another
	ManagementURL string   `env:"RABBITMQ_MANAGEMENT_URL"` // "none": there is none
	AMQPCAFile    string   `env:"AMQP_CA_FILE"`
	AMQPCertFile  string   `env:"AMQP_CERT_FILE"`
	AMQPKeyFile   string   `env:"AMQP_KEY_FILE"`
	Listen        string   `env:"WARREN_LISTEN" envDefault:"127.0.0.1:8080"`
	MetricsListen string   `env:"WARREN_METRICS_LISTEN"`
	Data          string   `env:"WARREN_DATA" envDefault:".warren"`
	Prefix        string   `env:"WARREN_PREFIX" envDefault:"warren"`
	Name          string   `env:"WARREN_NAME"` // of the process; "": host/pid
	Environment   string   `env:"WARREN_ENV"`  // shown as a badge: production is red
	LogFormat     string   `env:"WARREN_LOG" envDefault:"text"`
	LogLevel      string   `env:"WARREN_LOG_LEVEL" envDefault:"info"`
	Queues        []string `env:"WARREN_QUEUES" envDefault:"default"`
	Concurrency   int      `env:"WARREN_CONCURRENCY" envDefault:"10"`
	Prefetch      int      `env:"WARREN_PREFETCH"` // 0: as concurrency
	HTTPAllow     []string `env:"WARREN_HTTP_ALLOW"`
	SMTPURL       string   `env:"SMTP_URL"`
	MailFrom      string   `env:"WARREN_MAIL_FROM"`
	// How long ended jobs and the audit log are kept; 0: for ever.
	KeepFinished time.Duration `env:"WARREN_KEEP_FINISHED" envDefault:"168h"`
	KeepDead     time.Duration `env:"WARREN_KEEP_DEAD" envDefault:"2160h"`
	KeepAudit    time.Duration `env:"WARREN_KEEP_AUDIT" envDefault:"9600h"`
	Demo         bool          // a worker of warren demo, which knows its kinds

	// Access to the dashboard: without sign-in, by a password, or by a proxy's header.
	Password   string   `env:"WARREN_PASSWORD"`
	TrustProxy string   `env:"WARREN_TRUST_PROXY"`
	Proxies    []string `env:"WARREN_PROXIES"` // none: loopback
	Hosts      []string `env:"WARREN_HOSTS"`
	ReadOnly   bool     `env:"WARREN_READ_ONLY"`
	BasePath   string   `env:"WARREN_BASE_PATH"`
}

// LoadConfig reads the environment and, below it, the .env file of the working directory.
func LoadConfig() (Config, error) {
	if err := loadDotEnv(); err != nil {
		return Config{}, err
	}
	settings, err := readSettings()
	if err != nil {
		return Config{}, err
	}
	var c Config
	if err := env.ParseWithOptions(&c, env.Options{Environment: settings}); err != nil {
		return Config{}, explainEnv(err)
	}
	return c, nil
}

// readSettings reads the variables of Config. Blanks and line breaks around a value do not belong
// to it, as files of secrets end in a line break; only a password may begin or end with a blank.
func readSettings() (map[string]string, error) {
	settings := map[string]string{}
	for _, field := range reflect.VisibleFields(reflect.TypeFor[Config]()) {
		name := field.Tag.Get("env")
		value, set := os.LookupEnv(name)
		if name == "" || !set {
			continue
		}
		around := " \t\r\n"
		if name == "WARREN_PASSWORD" {
			around = "\r\n"
		}
		value = strings.Trim(value, around)
		if n := len(value); n > 1 && (value[0] == '"' || value[0] == '\'') && value[n-1] == value[0] {
			return nil, fmt.Errorf("%s begins and ends with a quote: leave the quotes out, as what sets it keeps them", name)
		}
		if strings.ContainsFunc(value, unicode.IsControl) || !utf8.ValidString(value) {
			return nil, fmt.Errorf("%s has a line break or another character in it that is not plain text", name)
		}
		settings[name] = value
	}
	return settings, nil
}

// explainEnv names the variable that cannot be read, and not the field of Config.
func explainEnv(err error) error {
	var bad env.ParseError
	if !errors.As(err, &bad) {
		return fmt.Errorf("read the configuration: %w", err)
	}
	name, rule := bad.Name, "a whole number"
	if field, ok := reflect.TypeFor[Config]().FieldByName(bad.Name); ok {
		name = field.Tag.Get("env")
		switch {
		case field.Type == reflect.TypeFor[time.Duration]():
			rule = "a duration such as 90m or 168h"
		case field.Type.Kind() == reflect.Bool:
			rule = "1 or 0"
		}
	}
	return fmt.Errorf("%s is %q: it must be %s", name, os.Getenv(name), rule)
}

// Check completes the configuration and returns, in one sentence without a password, what is wrong
// with it.
func (c *Config) Check() error {
	if err := c.check(); err != nil {
		return errors.New(withoutPassword(err.Error()))
	}
	return nil
}

// withoutPassword removes the account from URLs in a text. A URL that cannot be parsed may have any
// character in its password.
func withoutPassword(text string) string {
	return account.ReplaceAllStringFunc(text, func(found string) string {
		if found == "://user:password@" { // in a sentence that says how a URL looks
			return found
		}
		return "://…@"
	})
}

var account = regexp.MustCompile(`://\S*@`)

func (c *Config) check() error {
	c.AMQPURL = cmp.Or(c.AMQPURL, c.RabbitMQURL, c.CloudAMQPURL)
	if abs, err := filepath.Abs(c.Data); err == nil {
		c.Data = abs
	}
	for _, check := range []func() error{c.checkURLs, c.checkAccess, c.checkListen, c.checkWorker, c.checkKinds, c.checkKeep} {
		if err := check(); err != nil {
			return err
		}
	}
	if c.LogFormat != "text" && c.LogFormat != "json" {
		return fmt.Errorf("WARREN_LOG is %q: it must be text or json", c.LogFormat)
	}
	if _, err := c.logLevel(); err != nil {
		return err
	}
	if err := rabbit.CheckPrefix(c.Prefix); err != nil {
		return fmt.Errorf("WARREN_PREFIX is %q: %w", c.Prefix, err)
	}
	if c.Name != "" {
		if err := warren.CheckName(c.Name); err != nil {
			return fmt.Errorf("WARREN_NAME is %q: %w", c.Name, err)
		}
	}
	return nil
}

// logLevel returns the level from which on lines are logged.
func (c *Config) logLevel() (level slog.Level, err error) {
	levels := map[string]slog.Level{"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError}
	level, known := levels[strings.ToLower(cmp.Or(c.LogLevel, "info"))]
	if !known {
		return level, fmt.Errorf("WARREN_LOG_LEVEL is %q: it must be debug, info, warn or error", c.LogLevel)
	}
	return level, nil
}

func (c *Config) checkURLs() error {
	if c.DatabaseURL != "" {
		if err := store.CheckURL(c.DatabaseURL); err != nil {
			return err
		}
	}
	if c.AMQPURL == "" {
		return nil
	}
	if err := rabbit.CheckURL(c.AMQPURL); err != nil {
		return err
	}
	if _, err := c.brokerTLS(); err != nil {
		return err
	}
	switch c.ManagementURL {
	case noManagement:
		return nil
	case "":
		c.ManagementURL = deriveManagement(c.AMQPURL)
	}
	addresses := strings.Split(c.ManagementURL, ",")
	for i, address := range addresses {
		u, err := url.Parse(strings.TrimSpace(address))
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			what := "RABBITMQ_MANAGEMENT_URL"
			if len(addresses) > 1 {
				what = fmt.Sprintf("address %d of the %d in RABBITMQ_MANAGEMENT_URL", i+1, len(addresses))
			}
			return fmt.Errorf("%s is not an HTTP URL: it must look like http://user:password@host:15672, with special characters in user "+
				"and password percent-encoded, such as %%2F for /, or be none", what)
		}
	}
	return nil
}

// noManagement is the RABBITMQ_MANAGEMENT_URL of a broker without that plugin.
const noManagement = "none"

// brokerTLS reads the files for TLS with the broker; nil without them.
func (c *Config) brokerTLS() (*tls.Config, error) {
	return rabbit.TLS(c.AMQPURL, rabbit.Files{CA: c.AMQPCAFile, Cert: c.AMQPCertFile, Key: c.AMQPKeyFile})
}

// deriveManagement derives the management URL from the hosts, user and password of AMQP_URL and the
// usual port.
func deriveManagement(amqp string) string {
	var urls []string
	for _, address := range strings.Split(amqp, ",") {
		if u := managementOf(strings.TrimSpace(address)); !slices.Contains(urls, u) { // nodes of one host share it
			urls = append(urls, u)
		}
	}
	return strings.Join(urls, ",")
}

func managementOf(amqp string) string {
	u, err := url.Parse(amqp)
	if err != nil {
		return ""
	}
	m := url.URL{Scheme: "http", User: u.User, Host: net.JoinHostPort(u.Hostname(), "15672")}
	if m.User == nil {
		m.User = url.UserPassword("guest", "guest")
	}
	if u.Scheme == "amqps" {
		m.Scheme, m.Host = "https", net.JoinHostPort(u.Hostname(), "15671")
	}
	return m.String()
}

func (c *Config) checkListen() error {
	for name, addr := range map[string]string{"WARREN_LISTEN": c.Listen, "WARREN_METRICS_LISTEN": c.MetricsListen} {
		if addr == "" && name == "WARREN_METRICS_LISTEN" {
			continue
		}
		host, port, err := net.SplitHostPort(addr)
		if err != nil || port == "" {
			return fmt.Errorf("%s is %q: it must be host:port, such as 127.0.0.1:8080", name, addr)
		}
		if name == "WARREN_LISTEN" && !loopback(host) && c.Password == "" && c.TrustProxy == "" {
			return fmt.Errorf("WARREN_LISTEN is %q, which others can reach: set WARREN_PASSWORD, or WARREN_TRUST_PROXY to the header "+
				"in which your proxy names the signed-in user, or listen on 127.0.0.1", addr)
		}
	}
	return nil
}

// checkAccess checks who may use the dashboard. Its errors never show the password.
func (c *Config) checkAccess() error {
	switch {
	case c.Password != "" && c.TrustProxy != "":
		return errors.New("WARREN_PASSWORD and WARREN_TRUST_PROXY are both set: set one of them, as either Warren or the proxy signs " +
			"people in")
	case c.Password != "" && len(c.Password) < warren.PasswordMin:
		return fmt.Errorf("WARREN_PASSWORD is too short: it must have at least %d characters", warren.PasswordMin)
	case c.TrustProxy != "" && !headerName(c.TrustProxy):
		return fmt.Errorf("WARREN_TRUST_PROXY is %q: it must be the name of the header in which your proxy names the signed-in user, "+
			"such as X-Forwarded-User; the addresses of proxies belong in WARREN_PROXIES", c.TrustProxy)
	}
	return c.checkProxy()
}

// checkProxy checks what a proxy in front of the dashboard is and does.
func (c *Config) checkProxy() error {
	if _, err := handlers.ParseProxies(c.Proxies); err != nil {
		return fmt.Errorf("WARREN_PROXIES: %w", err)
	}
	hosts, err := handlers.ParseHosts(c.Hosts)
	switch {
	case err != nil:
		return fmt.Errorf("WARREN_HOSTS: %w", err)
	case c.TrustProxy != "" && len(hosts) == 0:
		return errors.New("WARREN_TRUST_PROXY needs WARREN_HOSTS: the host names under which people reach the dashboard, such as " +
			"warren.example.com, separated by commas")
	case len(hosts) > 0 && c.Password == "" && c.TrustProxy == "":
		return errors.New("WARREN_HOSTS is set, so that others reach the dashboard: set WARREN_PASSWORD, or WARREN_TRUST_PROXY to the " +
			"header in which your proxy names the signed-in user")
	}
	if c.BasePath != "" {
		if c.BasePath, err = handlers.ParseBase(c.BasePath); err != nil {
			return fmt.Errorf("WARREN_BASE_PATH: %w", err)
		}
	}
	return nil
}

// noUser are headers of proxies that name no user. Many tools understand them under a setting like
// WARREN_TRUST_PROXY.
var noUser = []string{"X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Port", "X-Real-Ip"}

// headerName reports whether s is the name of a header that may name a user. It requires a hyphen,
// as "true" and "1" would be names otherwise.
func headerName(s string) bool {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	return strings.Contains(s, "-") && !slices.Contains(noUser, http.CanonicalHeaderKey(s)) &&
		strings.Trim(s, letters+"0123456789-_") == "" && strings.ContainsAny(s[:1], letters)
}

func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

func (c *Config) checkWorker() error {
	if c.Concurrency < 1 || c.Concurrency > warren.ConcurrencyMax {
		return fmt.Errorf("WARREN_CONCURRENCY (--concurrency) is %d: it must be between 1 and %d", c.Concurrency, warren.ConcurrencyMax)
	}
	if c.Prefetch < 0 || c.Prefetch > warren.PrefetchMax {
		return fmt.Errorf("WARREN_PREFETCH (--prefetch) is %d: it must be between 1 and %d, or 0 for the concurrency",
			c.Prefetch, warren.PrefetchMax)
	}
	if len(c.Queues) == 0 || slices.Contains(c.Queues, "") {
		return errors.New("WARREN_QUEUES (--queue) names no queue: it must be one or more names, separated by commas")
	}
	_, err := c.queues()
	return err
}

// queues parses the queues, each name[:weight][/limit].
func (c *Config) queues() (warren.Queues, error) {
	queues := warren.Queues{}
	for _, entry := range c.Queues {
		rest, limit, limited := strings.Cut(strings.TrimSpace(entry), "/")
		name, weight, weighted := strings.Cut(rest, ":")
		if err := jobs.CheckQueue(name); err != nil && name != "" {
			return nil, fmt.Errorf("WARREN_QUEUES (--queue): %w", err)
		}
		var queue warren.Queue
		if name == "" || weighted && !atLeastOne(weight, &queue.Weight) || limited && !atLeastOne(limit, &queue.Slots) {
			return nil, fmt.Errorf("WARREN_QUEUES (--queue) has %q: it must be a name, then :weight and /limit where wanted, "+
				"whole numbers from 1 to %d, such as critical:8 or reports:1/2", entry, warren.ConcurrencyMax)
		}
		if _, twice := queues[name]; twice {
			return nil, fmt.Errorf("WARREN_QUEUES (--queue) names %q twice", name)
		}
		queues[name] = queue
	}
	return queues, nil
}

func atLeastOne(s string, n *int) bool {
	var err error
	*n, err = strconv.Atoi(s)
	return err == nil && *n >= 1 && *n <= warren.ConcurrencyMax
}

func (c *Config) checkKeep() error {
	for name, d := range map[string]time.Duration{"WARREN_KEEP_FINISHED": c.KeepFinished, "WARREN_KEEP_DEAD": c.KeepDead,
		"WARREN_KEEP_AUDIT": c.KeepAudit} {
		if d != 0 && d < time.Hour {
			return fmt.Errorf("%s is %s: it must be at least 1h, or 0 to keep everything", name, d)
		}
	}
	return nil
}

// retention returns how long ended jobs and the audit log are kept.
func (c *Config) retention() engine.Retention {
	keep := engine.RetentionDefault
	keep.Finished, keep.Dead, keep.Audit = c.KeepFinished, c.KeepDead, c.KeepAudit
	return keep
}

func (c *Config) checkKinds() error {
	_, err := c.kinds()
	return err
}

// kinds returns the configuration of the built-in kinds.
func (c *Config) kinds() (kinds.Config, error) {
	allow, err := kinds.ParseHTTPAllow(c.HTTPAllow)
	if err != nil {
		return kinds.Config{}, fmt.Errorf("WARREN_HTTP_ALLOW: %w", err)
	}
	mail, err := kinds.ParseMailConfig(c.SMTPURL, c.MailFrom)
	return kinds.Config{Version: Version, HTTPAllow: allow, Mail: mail}, err
}

// client returns the configuration of a client with these roles, from settings that are checked.
func (c *Config) client(roles []warren.Role, log *slog.Logger) (warren.Config, error) {
	queues, err := c.queues()
	if err != nil {
		return warren.Config{}, err
	}
	builtIn, err := c.kinds()
	if err != nil {
		return warren.Config{}, err
	}
	tls, err := c.brokerTLS()
	if err != nil {
		return warren.Config{}, err
	}
	keep := c.retention()
	client := warren.Config{DatabaseURL: c.DatabaseURL, BrokerURL: c.AMQPURL, BrokerTLS: tls, ManagementURL: c.ManagementURL,
		Prefix: c.Prefix,
		Roles:  roles, Queues: queues, Concurrency: c.Concurrency, Prefetch: c.Prefetch, Retention: &keep, BuiltIn: &builtIn,
		Name: c.Name, Environment: c.Environment, Version: Version, Log: log}
	if c.ManagementURL == noManagement {
		client.ManagementURL = ""
	}
	if slices.Contains(roles, warren.RoleWeb) {
		client.DashboardAddr = c.Listen
	}
	if c.Demo {
		client.StopGrace = 2 * time.Second // nothing is lost: running jobs are given back
	}
	return client, nil
}

// Private reports which servers this configuration leaves to Warren.
func (c *Config) Private() (postgres, rabbitmq bool) { return c.DatabaseURL == "", c.AMQPURL == "" }
