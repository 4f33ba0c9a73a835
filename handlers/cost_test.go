package handlers

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/store/storetest"
)

type measured struct {
	Text string `json:"text" jsonschema:"minLength=1"`
	List []int  `json:"list"`
}

func (measured) Kind() string { return "measured" }

// hostile are requests whose size a stranger chooses. n is about the size in bytes.
var hostile = map[string]func(n int) *http.Request{
	"API: unknown args":        func(n int) *http.Request { return apiArgs(`{` + names(n) + `}`) },
	"API: args of wrong types": func(n int) *http.Request { return apiArgs(`{"text":"x","list":[` + listed(n, `"a"`) + `]}`) },
	"API: args nested": func(n int) *http.Request {
		return apiArgs(strings.Repeat(`{"a":`, n/6) + "1" + strings.Repeat("}", n/6))
	},
	"API: brackets":           func(n int) *http.Request { return apiArgs(strings.Repeat("[", n)) },
	"API: a long number":      func(n int) *http.Request { return apiArgs(`{"text":"x","list":[` + strings.Repeat("9", n) + `]}`) },
	"API: a long text":        func(n int) *http.Request { return apiArgs(`{"text":"` + strings.Repeat(`\u0000`, n/6) + `"}`) },
	"API: unknown fields":     func(n int) *http.Request { return api("/api/v1/jobs", `{`+names(n)+`}`) },
	"API: a list of bad jobs": func(n int) *http.Request { return api("/api/v1/jobs", `[`+listed(n, `{"kind":"x"}`)+`]`) },
	"API: a task": func(n int) *http.Request {
		return api("/api/v1/tasks", `{"description":"`+strings.Repeat("a\\n", n/3)+`"}`)
	},
	"API: a rule": func(n int) *http.Request {
		return api("/api/v1/tasks", `{"description":"x","job":{"kind":"measured","runs":"schedule","rule":"`+listed(n, "1")+` * * * *"}}`)
	},
	"form: fields": func(n int) *http.Request {
		return form("/jobs", "kind=measured&"+strings.ReplaceAll(names(n), ",", "&"))
	},
	"form: a text": func(n int) *http.Request {
		return form("/jobs", "kind=measured&args.list=x&args.text="+strings.Repeat("%3C", n/3))
	},
	"form: JSON":     func(n int) *http.Request { return form("/jobs", "kind=measured&json=1&args="+strings.Repeat("[", n)) },
	"form: tags":     func(n int) *http.Request { return form("/jobs", "kind=measured&tags="+listed(n, "a")) },
	"form: sign-in":  func(n int) *http.Request { return form("/login", "password="+strings.Repeat("x", n)) },
	"page: search":   func(n int) *http.Request { return get("/jobs?q=" + strings.Repeat("%25", n/3)) },
	"page: cursor":   func(n int) *http.Request { return get("/jobs?cursor=" + strings.Repeat("A", n)) },
	"page: filters":  func(n int) *http.Request { return get("/jobs?" + strings.Repeat("state=x&", n/8)) },
	"page: topics":   func(n int) *http.Request { return get("/live?topics=" + strings.Repeat("jobs,", n/5)) },
	"page: a path":   func(n int) *http.Request { return get("/queues/~1/" + strings.Repeat("%ff", n/3)) },
	"page: a rule":   func(n int) *http.Request { return get("/schedules/preview?job.rule=" + listed(n, "1") + "+*+*+*+*") },
	"header: cookie": func(n int) *http.Request { return with(get("/jobs"), "Cookie", strings.Repeat("a=b; ", n/5)) },
	"header: addresses": func(n int) *http.Request {
		return with(get("/jobs"), "X-Forwarded-For", strings.Repeat("127.0.0.1, ", n/11))
	},
}

// Whatever the size of a stranger's request, it costs memory in proportion at most: of eight times
// the size no more than 16 times as much. The table, with -v, has the cost per byte.
func TestRequest_AStrangersInputCostsInProportionToItsSize(t *testing.T) {
	registry, err := jobs.NewRegistry(jobs.Describe[measured]())
	require.NoError(t, err)
	a := appOn(storetest.New(t), access(t, "", "", false))
	a.Registry, a.Log = registry, slog.New(slog.NewTextHandler(t.Output(), nil))
	h := a.Dashboard()
	cost := func(build func(int) *http.Request, n int) int64 {
		least := int64(1) << 62
		for range 3 { // something else may allocate meanwhile
			r, w := build(n), httptest.NewRecorder()
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			h.ServeHTTP(w, r)
			runtime.ReadMemStats(&after)
			require.NotContains(t, []int{500, 502, 504}, w.Code, "%s: %.200s", r.URL.Path, w.Body)
			least = min(least, int64(after.TotalAlloc-before.TotalAlloc))
		}
		return least
	}
	const unit = 16 << 10
	for name, build := range hostile {
		cost(build, unit) // what is made once
		var table strings.Builder
		var costs []int64
		for _, units := range []int{1, 2, 4, 8} {
			bytes := cost(build, units*unit)
			costs = append(costs, bytes)
			fmt.Fprintf(&table, "%9.1f", float64(bytes)/float64(units*unit))
		}
		t.Logf("%-26s bytes of memory per byte at 16, 32, 64, 128 KiB: %s", name, table.String())
		require.Less(t, costs[3], 16*costs[0], name)
	}
}

func names(n int) string {
	var all []string
	for i := range n / 12 {
		all = append(all, fmt.Sprintf(`"f%07d":1`, i))
	}
	return strings.Join(all, ",")
}

func listed(n int, item string) string {
	return strings.TrimSuffix(strings.Repeat(item+",", n/(len(item)+1)), ",")
}

func apiArgs(args string) *http.Request {
	return api("/api/v1/jobs", `{"kind":"measured","args":`+args+`}`)
}

func api(path, body string) *http.Request { return posted(path, "application/json", body) }

func form(path, body string) *http.Request {
	return posted(path, "application/x-www-form-urlencoded", body)
}

func posted(path, mediaType, body string) *http.Request {
	return with(local4711(httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))), "Content-Type", mediaType)
}

func get(target string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	if u, err := url.ParseRequestURI(target); err == nil {
		r.URL, r.RequestURI = u, target
	}
	return local4711(r)
}

func local4711(r *http.Request) *http.Request {
	r.Host, r.RemoteAddr = "127.0.0.1", "127.0.0.1:4711"
	return r
}

func with(r *http.Request, name, value string) *http.Request {
	r.Header.Set(name, value)
	return r
}
