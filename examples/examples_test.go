package examples

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/jobs/rabbit/rabbittest"
	"github.com/warrenjobs/warren/store"
	"github.com/warrenjobs/warren/store/storetest"
)

func TestMain(m *testing.M) {
	code := m.Run()
	storetest.Stop()
	rabbittest.Stop()
	os.Exit(code)
}

func TestExamples_AnInvoiceAndItsJobAreCommittedTogetherOrNotAtAll(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	url := storetest.Migrated(t)
	s := storetest.Open(t, url)
	db, err := gorm.Open(postgres.Open(url), &gorm.Config{})
	require.NoError(t, err)
	t.Cleanup(func() {
		if pool, err := db.DB(); err == nil {
			_ = pool.Close()
		}
	})
	require.NoError(t, db.AutoMigrate(&Invoice{}))

	require.NoError(t, CreateInvoice(ctx, db, &Invoice{Total: 100}))
	requireRows(t, db, s, 1)

	err = db.Transaction(func(tx *gorm.DB) error {
		if err := CreateInvoice(ctx, tx, &Invoice{Total: 200}); err != nil {
			return err
		}
		return context.Canceled // any error rolls back
	})
	require.ErrorIs(t, err, context.Canceled)
	requireRows(t, db, s, 1)
}

func TestExamples_ACharge(t *testing.T) {
	t.Parallel()
	url := storetest.Migrated(t)
	s := storetest.Open(t, url)
	db, err := gorm.Open(postgres.Open(url), &gorm.Config{})
	require.NoError(t, err)
	t.Cleanup(func() {
		if pool, err := db.DB(); err == nil {
			_ = pool.Close()
		}
	})
	require.NoError(t, db.AutoMigrate(&Invoice{}, &Payment{}))
	require.NoError(t, CreateInvoices(t.Context(), db, []Invoice{{ID: 1, Total: 10}, {ID: 2, Total: 20}}))
	page, err := s.Jobs(t.Context(), jobs.Filter{Kind: "charge"}, jobs.Cursor{}, 10)
	require.NoError(t, err)
	require.Len(t, page.Items, 2)
	session, err := s.OpenSession(t.Context(), store.SessionInfo{Name: "w", Roles: []string{"worker"}})
	require.NoError(t, err)
	t.Cleanup(func() { _ = session.Close(context.Background()) })
	job := page.Items[0]
	in := engine.Delivery{JobID: job.ID, Dispatch: 1, Queue: job.Queue}
	claims, err := s.Claim(t.Context(), session.Holder(), []engine.Delivery{in})
	require.NoError(t, err)

	charge, run := ChargeInvoice(db), &jobs.Run{ID: job.ID, Lease: claims[in.Key()].Lease}
	require.Error(t, charge(t.Context(), run, Charge{NotYet: time.Now().Add(time.Hour)}), "snoozed")
	require.ErrorContains(t, charge(t.Context(), run, Charge{Invoice: 3}), "withdrawn")
	require.NoError(t, charge(t.Context(), run, Charge{Invoice: 1}))
	require.Len(t, run.Record().LogLines(), 1)
	require.ErrorIs(t, charge(t.Context(), run, Charge{Invoice: 1}), jobs.ErrStale)
	var payments int64
	require.NoError(t, db.Model(&Payment{}).Count(&payments).Error)
	require.EqualValues(t, 1, payments)
	done, err := s.Job(t.Context(), job.ID)
	require.NoError(t, err)
	require.Equal(t, jobs.Completed, done.State)
}

// requireRows requires that there are want invoices, want jobs and want outbox rows.
func requireRows(t *testing.T, db *gorm.DB, s *store.Store, want int64) {
	t.Helper()
	var invoices, rows int64
	require.NoError(t, db.Model(&Invoice{}).Count(&invoices).Error)
	require.NoError(t, db.Table("warren.outbox").Count(&rows).Error)
	page, err := s.Jobs(t.Context(), jobs.Filter{Kind: "dots"}, jobs.Cursor{}, 10)
	require.NoError(t, err)
	require.Equal(t, []int64{want, want, want}, []int64{invoices, rows, int64(len(page.Items))})
}

// Every Go block in README and docs must occur in this folder, line by line.
func TestExamples_TheGoInReadmeAndDocsIsTheGoThatIsCompiledHere(t *testing.T) {
	t.Parallel()
	var compiled strings.Builder
	for _, file := range append(glob(t, "*.go"), glob(t, "*/*.go")...) {
		if !strings.HasSuffix(file, "_test.go") {
			compiled.WriteString(flat(read(t, file)))
		}
	}
	blocks := 0
	for _, file := range slices.Concat(glob(t, "../docs/*.md"), glob(t, "../docs/recipes/*.md"), []string{"../README.md"}) {
		for _, block := range goBlock.FindAllStringSubmatch(read(t, file), -1) {
			blocks++
			require.Contains(t, compiled.String(), flat(block[1]), "%s shows Go that is not in examples/", file)
		}
	}
	require.GreaterOrEqual(t, blocks, 2)
}

var goBlock = regexp.MustCompile("(?s)```go\n(.*?)```")

// flat drops the indentation and the empty lines.
func flat(code string) string {
	var out strings.Builder
	for line := range strings.Lines(code) {
		if line = strings.TrimSpace(line); line != "" {
			out.WriteString(line + "\n")
		}
	}
	return out.String()
}

// Every setting that the configuration reads must be in docs/config.md.
func TestExamples_EverySettingIsInTheDocs(t *testing.T) {
	t.Parallel()
	docs, settings := read(t, "../docs/config.md"), setting.FindAllStringSubmatch(read(t, "../web/config.go"), -1)
	require.NotEmpty(t, settings)
	for _, s := range settings {
		require.Contains(t, docs, "`"+s[1]+"`")
	}
}

var setting = regexp.MustCompile(`env:"([A-Z_]+)`)

// Links within the repository must lead to existing files.
func TestExamples_TheLinksOfReadmeAndDocsLeadSomewhere(t *testing.T) {
	t.Parallel()
	for _, file := range slices.Concat(glob(t, "../docs/*.md"), glob(t, "../docs/recipes/*.md"), glob(t, "../*.md")) {
		for _, link := range link.FindAllStringSubmatch(read(t, file), -1) {
			target, _, _ := strings.Cut(link[1], "#")
			if target == "" || strings.Contains(target, "://") {
				continue
			}
			require.FileExists(t, filepath.Join(filepath.Dir(file), target), "link in %s", file)
		}
	}
}

var link = regexp.MustCompile(`\]\(([^)]+)\)`)

func glob(t *testing.T, pattern string) []string {
	t.Helper()
	files, err := filepath.Glob(pattern)
	require.NoError(t, err)
	require.NotEmpty(t, files)
	return files
}

func read(t *testing.T, file string) string {
	t.Helper()
	raw, err := os.ReadFile(file)
	require.NoError(t, err)
	return string(raw)
}
