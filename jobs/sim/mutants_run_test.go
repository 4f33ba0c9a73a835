//go:build mutants

package sim_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestSim_FindsEachMutant builds the engine with each mistake in turn, and runs the simulator until
// it finds that mistake. MUTANT selects some by a regular expression.
func TestSim_FindsEachMutant(t *testing.T) {
	pick := regexp.MustCompile(os.Getenv("MUTANT"))
	for _, m := range mutants {
		if !pick.MatchString(m.name) {
			continue
		}
		t.Run(m.name, func(t *testing.T) {
			out, err := m.simulate(t)
			require.Error(t, err, "it was not found:\n%s", out)
			found := regexp.MustCompile(`found after \d+ steps: .*`).FindString(out)
			require.NotEmpty(t, found, "%s", out)
			fmt.Printf("%-50s %s\n", m.name, found)
		})
	}
}

func (m mutant) simulate(t *testing.T) (string, error) {
	root, err := filepath.Abs("../..")
	require.NoError(t, err)
	source, err := os.ReadFile(filepath.Join(root, m.file))
	require.NoError(t, err)
	dir := t.TempDir()
	changed := filepath.Join(dir, "mutant.go")
	require.NoError(t, os.WriteFile(changed, []byte(strings.Replace(string(source), m.old, m.new, 1)), 0o600))
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{filepath.Join(root, m.file): changed}})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "overlay.json"), overlay, 0o600))
	cmd := exec.CommandContext(t.Context(), "go", "test", "-count=1", "-v", "-timeout=30m", "-overlay", filepath.Join(dir, "overlay.json"),
		"-run", "TestSim_NoSchedule", ".", "-args", "-rapid.nofailfile", "-rapid.shrinktime="+shrinkTime())
	out, err := cmd.CombinedOutput()
	require.NoError(t, os.WriteFile(filepath.Join(os.TempDir(), "mutant.log"), out, 0o600))
	return string(out), err
}

// shrinkTime returns the time for shrinking; by default none, as only finding the mutant counts here.
func shrinkTime() string {
	if s := os.Getenv("SHRINK"); s != "" {
		return s
	}
	return "0s"
}
