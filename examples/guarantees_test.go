package examples

import (
	"io/fs"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Every promise of docs/guarantees.md must name a proof that exists.
func TestGuarantees_EveryPromiseNamesAProofThatExists(t *testing.T) {
	t.Parallel()
	page := read(t, "../docs/guarantees.md")
	require.Greater(t, len(proofName.FindAllString(page, -1)), 100)
	for _, wrong := range unproved(page, proofs(t)) {
		t.Error(wrong)
	}
}

// TestGuarantees_APromiseWithoutProofIsFound checks the check itself.
func TestGuarantees_APromiseWithoutProofIsFound(t *testing.T) {
	t.Parallel()
	there := proofs(t)
	require.Contains(t, there, "examples.TestGuarantees_APromiseWithoutProofIsFound")
	require.Contains(t, there, "storm worker-killed")
	table := func(proof string) string { return "| promise | proved by |\n|---|---|\n| it holds | " + proof + " |\n" }
	for _, c := range []struct {
		page   string
		proved bool
	}{
		{table("`examples.TestGuarantees_APromiseWithoutProofIsFound`, `storm worker-killed`"), true},
		{table("No test: it is so by the schema"), true},
		{"| what | then |\n|---|---|\n| a fire | water |\n", true},
		{"Proved by `store.TestGuarantees_APromiseWithoutProofIsFound`.", false},
		{"Proved by `examples.TestAPromiseWithoutProofIsFoundd`.", false},
		{"Proved by `storm in-a-teacup`.", false},
		{"Proved by `sim one-run-at-a-time`.", true},
		{"Proved by `sim two-runs-at-a-time`.", false},
		{"Proved by `TestGuarantees_APromiseWithoutProofIsFound`.", false},
		{table("all who have seen it"), false},
		{table("`storm in-a-teacup`"), false},
		{table(""), false},
	} {
		require.Equal(t, c.proved, len(unproved(c.page, there)) == 0, c.page)
	}
}

var (
	proofName = regexp.MustCompile("`([a-z/]+\\.Test[A-Z]\\w*|storm [a-z-]+|sim [a-z-]+)`")
	testName  = regexp.MustCompile(`Test[A-Z]\w*`)
	testFunc  = regexp.MustCompile(`(?m)^func (Test[A-Z]\w*)\(\w+ \*testing\.T\)`)
	ruleName  = regexp.MustCompile(`= rule\("([a-z-]+)"\)`)
	stormName = regexp.MustCompile(`\{"([a-z-]+)", (?:true|false), `)
)

// proofs returns the names of all tests, by folder, of the storms of make chaos and of the rules of make sim.
func proofs(t *testing.T) map[string]bool {
	t.Helper()
	there := map[string]bool{}
	for _, folder := range []string{"examples", "handlers", "jobs", "store", "views", "web"} {
		require.NoError(t, filepath.WalkDir(filepath.Join("..", folder), func(path string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, "_test.go") {
				return err
			}
			for _, f := range testFunc.FindAllStringSubmatch(read(t, path), -1) {
				there[strings.TrimPrefix(filepath.ToSlash(filepath.Dir(path)), "../")+"."+f[1]] = true
			}
			return nil
		}))
	}
	for _, path := range glob(t, "../*_test.go") { // package warren
		for _, f := range testFunc.FindAllStringSubmatch(read(t, path), -1) {
			there["warren."+f[1]] = true
		}
	}
	for _, s := range stormName.FindAllStringSubmatch(read(t, "../web/chaos/storms.go"), -1) {
		there["storm "+s[1]] = true
	}
	for _, r := range ruleName.FindAllStringSubmatch(read(t, "../jobs/sim/rules_test.go"), -1) {
		there["sim "+r[1]] = true
	}
	return there
}

// unproved returns what is wrong with a page: proofs that do not exist, tests without
// their folder, and rows in tables of promises without a proof.
func unproved(page string, there map[string]bool) (wrong []string) {
	promises := false
	for line := range strings.Lines(page) {
		line = strings.TrimSpace(line)
		for _, n := range proofName.FindAllStringSubmatch(line, -1) {
			if !there[n[1]] {
				wrong = append(wrong, n[1]+" is named and does not exist")
			}
		}
		if testName.MatchString(proofName.ReplaceAllString(line, "")) {
			wrong = append(wrong, "a test is not named as `folder.Test…`: "+line)
		}
		switch {
		case !strings.HasPrefix(line, "|"):
			promises = false
		case strings.HasSuffix(line, "| proved by |"):
			promises = true
		case promises && !strings.HasPrefix(line, "|---") && !proven(line):
			wrong = append(wrong, "a promise without a proof: "+line)
		}
	}
	return wrong
}

// proven reports whether the last cell of a row names a proof, or states that there is no test.
func proven(row string) bool {
	cells := strings.Split(strings.TrimSuffix(row, "|"), "|")
	last := strings.TrimSpace(cells[len(cells)-1])
	return proofName.MatchString(last) || strings.HasPrefix(last, "No test")
}
