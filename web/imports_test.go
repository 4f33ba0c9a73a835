package web_test

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "github.com/warrenjobs/warren"

// mayImport lists, for each package, which others of this module it may import. The direction is
// web -> warren -> handlers -> views -> views/ui, static; handlers -> store; and towards jobs,
// which imports none of them. A package with another line here changes the design: think twice. "…"
// allows everything.
var mayImport = map[string][]string{
	"jobs":          {},
	"jobs/engine":   {"jobs", "jobs/tracing"},
	"jobs/schedule": {"jobs", "jobs/events"},
	"jobs/tasks":    {"jobs", "jobs/schedule"},
	"jobs/tracing":  {},
	"jobs/explain":  {"jobs", "jobs/engine"},
	"jobs/child":    {},
	"jobs/kinds":    {"jobs", "jobs/engine", "jobs/events", "jobs/tasks"},
	"jobs/events":   {"jobs"},
	// what people tail and publish by hand
	"jobs/messages": {"jobs"},
	// The monitor reads the management API through its client, which depends on net/http and
	// nothing else.
	"jobs/monitor": {"jobs", "jobs/engine", "jobs/rabbit/management"},
	"jobs/sim":     {}, // tests only
	// for tests of applications
	"jobs/warrentest":        {module, "jobs", "jobs/engine", "jobs/rabbit/rabbittest", "store/outbox", "store/storetest"},
	"jobs/rabbit":            {"jobs", "jobs/engine", "jobs/messages", "jobs/tracing", "jobs/rabbit/management"},
	"jobs/rabbit/local":      {"jobs/child"},
	"jobs/rabbit/management": {},
	"jobs/rabbit/rabbittest": {"jobs/rabbit/local", "jobs/rabbit/management"},

	// The store keeps the monitor's samples and returns its queues: the types are the monitor's.
	"store": {"jobs", "jobs/engine", "jobs/events", "jobs/schedule", "jobs/tasks", "jobs/tracing", "jobs/monitor", "store/internal/rules",
		"store/outbox"},
	"store/outbox":         {"jobs", "jobs/events", "jobs/tracing", "store/internal/rules"},
	"store/internal/rules": {"jobs"},
	"store/local":          {"jobs/child"},
	"store/storetest":      {"jobs", "store", "store/local"},

	"static":   {},
	"views/ui": {"static"},
	// jobs/monitor and jobs/messages: the types it shows
	"views": {"jobs", "jobs/engine", "jobs/events", "jobs/explain", "jobs/schedule", "jobs/tasks", "jobs/messages", "jobs/monitor",
		"static", "views/ui"},
	"views/internal/gallery": {"static", "views", "views/ui"},
	"views/browsertest":      {},
	// jobs/monitor: types that store returns
	"handlers": {"jobs", "jobs/engine", "jobs/events", "jobs/explain", "jobs/schedule", "jobs/tasks", "jobs/messages", "jobs/tracing",
		"jobs/monitor", "static", "store", "views", "views/ui"},

	// the one wiring
	module: {"handlers", "views", "jobs", "jobs/engine", "jobs/events", "jobs/kinds", "jobs/messages", "jobs/monitor", "jobs/rabbit",
		"jobs/rabbit/management", "jobs/schedule", "jobs/tasks", "store", "store/outbox"},
	"web":             {"…"},
	"web/warren":      {"web"},
	"web/demo":        {"jobs", "jobs/child", "jobs/kinds", "jobs/rabbit", "jobs/schedule", "jobs/tasks", "store"},
	"web/private":     {"jobs/child", "jobs/rabbit/local", "store/local"},
	"web/chaos":       {"…"},
	"web/scenarios":   {"…"},
	"examples":        {module, "jobs", "jobs/events", "jobs/kinds", "jobs/schedule", "store/outbox"}, // what an application imports
	"examples/primes": {"jobs", "web"},                                                                // a whole program
	// applications that have Warren inside:
	"examples/customers": {module, "jobs"},
	"examples/embedded":  {module, "jobs"},
	"examples/events":    {module, "jobs", "jobs/events"},
	// programs that know nothing of Warren but its messages
	"examples/gotutorial/submit": {},
	"examples/gotutorial/work":   {},
}

// onlyIn lists where a library may be used; an empty list means in tests only. Tests may use all of
// them.
var onlyIn = map[string][]string{
	"github.com/labstack/echo": {"handlers", "examples/customers"},
	// a caller, such as the examples, brings the transaction
	"gorm.io": {"store", module, "examples", "examples/customers", "examples/events"},
	"github.com/jackc/pgx": {"store", "store/outbox", "store/local", "store/storetest", module, "examples/embedded", "examples/events",
		"web/scenarios"},
	"github.com/pressly/goose": {"store"},
	// examples/gotutorial and web/scenarios have programs that know nothing of Warren
	"github.com/rabbitmq/amqp091-go":   {"jobs/rabbit", "web/scenarios", "examples/gotutorial/submit", "examples/gotutorial/work"},
	"github.com/wneessen/go-mail":      {"jobs/kinds"},
	"github.com/a-h/templ":             {"handlers", "views", "views/ui", "views/internal/gallery"},
	"github.com/prometheus":            {"handlers"},
	"github.com/spf13/cobra":           {"web"},
	"github.com/caarlos0/env":          {"web"},
	"github.com/joho/godotenv":         {"web"},
	"github.com/stretchr/testify":      {"jobs/warrentest", "store/storetest", "jobs/rabbit/rabbittest", "views/browsertest"},
	"github.com/chromedp":              {"views/browsertest"},
	module + "/jobs/rabbit/rabbittest": {"jobs/warrentest"},
	module + "/store/storetest":        {"jobs/warrentest"},
	module + "/views/browsertest":      {},

	// Libraries create spans through OpenTelemetry's interfaces; the process decides where the
	// spans go.
	"go.opentelemetry.io/otel/sdk":       {"web"},
	"go.opentelemetry.io/otel/exporters": {"web"},
}

// pkg is a package in the output of go list.
type pkg struct {
	ImportPath                         string
	Imports, TestImports, XTestImports []string
}

func TestImports_RunOneWay(t *testing.T) {
	t.Parallel()
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports,TestImports,XTestImports", "./...")
	cmd.Dir = ".."
	out, err := cmd.Output()
	require.NoError(t, err)
	var pkgs []pkg
	for dec := json.NewDecoder(strings.NewReader(string(out))); dec.More(); {
		var p pkg
		require.NoError(t, dec.Decode(&p))
		pkgs = append(pkgs, p)
	}
	require.Greater(t, len(pkgs), 10)
	for _, broken := range brokenImports(pkgs) {
		t.Error(broken)
	}
}

// A program that only enqueues does not depend on the code that works jobs and renders pages.
func TestOutbox_IsLight(t *testing.T) {
	t.Parallel()
	out, err := exec.Command("go", "list", "-deps", module+"/store/outbox").Output()
	require.NoError(t, err)
	deps := strings.Fields(string(out))
	require.Contains(t, deps, module+"/jobs")
	for _, heavy := range []string{"github.com/labstack/echo", "github.com/a-h/templ", "github.com/rabbitmq/amqp091-go", "gorm.io"} {
		require.False(t, slices.ContainsFunc(deps, func(p string) bool { return strings.HasPrefix(p, heavy) }), heavy)
	}
}

// Schedules have zones, also in an image without a zone database.
func TestImports_TheProgramHasTheTimeZones(t *testing.T) {
	t.Parallel()
	out, err := exec.Command("go", "list", "-deps", module+"/web/warren").Output()
	require.NoError(t, err)
	require.Contains(t, strings.Fields(string(out)), "time/tzdata")
}

// TestImports_ABrokenImportIsFound checks the rule itself.
func TestImports_ABrokenImportIsFound(t *testing.T) {
	t.Parallel()
	own := func(name string) string { return path.Join(module, name) }
	for _, c := range []struct {
		from, imports string
		broken        bool
	}{
		{"handlers", own("web"), true},
		{"views", own("handlers"), true},
		{"views", own("store"), true},
		{"views/ui", own("views"), true},
		{"store", own("handlers"), true},
		{"store", own("jobs/rabbit"), true},
		{"jobs", own("store"), true},
		{"jobs", own("jobs/rabbit"), true},
		{"jobs/kinds", own("store"), true},
		{"jobs/rabbit", own("store"), true},
		{"web", own("store/storetest"), true},
		{"newcomer", own("jobs"), true},
		{"store", "github.com/labstack/echo/v4", true},
		{"handlers", "gorm.io/gorm", true},
		{"web", "github.com/jackc/pgx/v5/pgxpool", true},
		{"web", "github.com/rabbitmq/amqp091-go", true},
		{"jobs", "github.com/a-h/templ", true},
		{"handlers", own("store"), false},
		{"handlers", own("views/ui"), false},
		{"store", "gorm.io/driver/postgres", false},
		{"jobs/rabbit", "github.com/rabbitmq/amqp091-go", false},
		{"web/warren", own("web"), false},
		{"jobs", "net/http", false},
	} {
		found := brokenImports([]pkg{{ImportPath: own(c.from), Imports: []string{c.imports}}})
		require.Equal(t, c.broken, len(found) > 0, "%s imports %s: %v", c.from, c.imports, found)
	}
	found := brokenImports([]pkg{{ImportPath: own("store"), XTestImports: []string{own("web")}}})
	require.Len(t, found, 1, "a test outside of web must not import it")
}

func brokenImports(pkgs []pkg) []string {
	var broken []string
	for _, p := range pkgs {
		name := strings.TrimPrefix(p.ImportPath, module+"/")
		allowed, known := mayImport[name]
		if !known {
			broken = append(broken, fmt.Sprintf("%s has no line in web/imports_test.go: add one that says what it may import", name))
			continue
		}
		for _, imported := range p.Imports {
			if !may(name, imported, allowed) {
				broken = append(broken, fmt.Sprintf("%s imports %s, which design and web/imports_test.go do not allow", name, imported))
			}
		}
		for _, imported := range slices.Concat(p.TestImports, p.XTestImports) {
			if within(imported, module+"/web") && !within(name, "web") {
				broken = append(broken, fmt.Sprintf("a test of %s imports %s: tests of web alone may", name, imported))
			}
		}
	}
	return broken
}

// may reports whether the package may import the other, by both tables.
func may(name, imported string, allowed []string) bool {
	for library, places := range onlyIn {
		if within(imported, library) {
			return slices.Contains(places, name)
		}
	}
	own, ok := strings.CutPrefix(imported, module+"/")
	if imported == module {
		own, ok = module, true
	}
	return !ok || slices.Contains(allowed, "…") || slices.Contains(allowed, own)
}

// within reports whether the path is that folder or lies in it.
func within(p, folder string) bool { return p == folder || strings.HasPrefix(p, folder+"/") }
