package handlers

import (
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

// oddities are what people and scanners put into addresses, encoded.
var oddities = []string{"%00", "%ff", "%2e%2e", "%2F", "..%2F..", "%25zz", "%0d%0aX:%20y", "%22%3E%3Cscript%3E", "%27--", "%E2%80%AE",
	"%20",
	"-1", "0", "1e400", "9223372036854775808", "NaN", "null", "[]", "%7B%7D", "~1", "*", "2026-02-30", strings.Repeat("x", 4000),
	uuid.Nil.String(), uuid.NewString(), strings.ToUpper(uuid.NewString())}

// parameters are the names of all that pages take in their query.
var parameters = []string{"q", "state", "kind", "queue", "cursor", "limit", "show", "view", "priority", "sort", "desc", "role", "actor",
	"action",
	"target", "exchange", "pattern", "message", "after", "open", "tail",
	"range", "from", "to", "like", "as", "choose", "job.kind", "job.rule", "job.zone", "next", "topics", "confirm", "key",
	"subscriber", "outcome", "since"}

var parameter = regexp.MustCompile(`:\w+`)

// Whatever stands in an address, and whatever the method, it is answered, refused or not found: it is
// never a fault of the server.
func TestRoutes_NoAddressIsAFaultOfTheServer(t *testing.T) {
	t.Parallel()
	_, e := pages(t)
	asked := 0
	check := func(method, target string) {
		r, w := httptest.NewRequest(method, "/", nil), httptest.NewRecorder()
		u, err := r.URL.Parse(target)
		require.NoError(t, err)
		r.URL, r.RequestURI, r.Host = u, target, "127.0.0.1"
		if method != http.MethodGet {
			r.Header.Set("Content-Type", "application/json")
		}
		e.ServeHTTP(w, r)
		require.Less(t, w.Code, 500, "%s %s: %s", method, target, w.Body)
		asked++
	}
	for n, route := range e.Routes() {
		switch named := parameter.MatchString(route.Path); {
		case route.Path == "/live", strings.HasSuffix(route.Path, "/purge"): // a stream; asks the broker, which is not here
		case named:
			for _, odd := range oddities {
				check(route.Method, parameter.ReplaceAllString(route.Path, odd))
			}
		case route.Method == http.MethodGet:
			for i, name := range parameters {
				check(route.Method, route.Path+"?"+name+"="+oddities[(n+i)%len(oddities)])
			}
		}
	}
	t.Logf("%d requests", asked)
}
