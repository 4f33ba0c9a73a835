package local

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/warrenjobs/warren/jobs/child"
)

// ErrNotInstalled means that no PostgreSQL was found on this machine.
var ErrNotInstalled = errors.New("PostgreSQL is not installed: " + install() + ", start Docker, or set DATABASE_URL")

func install() string {
	if runtime.GOOS == "darwin" {
		return "brew install postgresql"
	}
	return "apt-get install postgresql"
}

// Check returns an error that explains, in one sentence, why a Start on dir could not work. The
// error is ErrNotInstalled without any PostgreSQL; others mean that the data needs a version that
// is missing, or that the server's user cannot enter dir.
func Check(dir string) error {
	home, err := openFolder(dir)
	if err != nil {
		return err
	}
	binaries, err := home.binaries()
	if err != nil {
		return err
	}
	_, err = newCluster(home, binaries)
	return err
}

// places lists the folders of PostgreSQL's programs, besides those on PATH.
var places = []string{
	"/usr/lib/postgresql/*/bin",
	"/usr/pgsql-*/bin",
	"/opt/homebrew/opt/postgresql*/bin",
	"/usr/local/opt/postgresql*/bin",
	"/usr/local/pgsql/bin",
}

// binaries returns the folder of the programs that can run the data: those of its own major
// version, or for new data the first on PATH, else the newest.
func (f folder) binaries() (string, error) {
	found := findBinaries(filepath.SplitList(os.Getenv("PATH")), places)
	if len(found) == 0 {
		return "", ErrNotInstalled
	}
	text, err := child.ReadGiven(f.data(), "PG_VERSION")
	if err != nil {
		return found[0], nil
	}
	version := strings.TrimSpace(string(text))
	for _, dir := range found {
		if majorVersion(dir) == version {
			return dir, nil
		}
	}
	return "",
		fmt.Errorf("the data in %s was made by PostgreSQL %s, which is not installed: install version %s, or set WARREN_DATA to a "+
			"new folder", f.data(), version, version)
}

func findBinaries(path, globs []string) []string {
	var found []string
	for _, glob := range globs {
		matches, _ := filepath.Glob(glob) // the only error is a bad pattern
		slices.SortFunc(matches, newestFirst)
		found = append(found, matches...)
	}
	return slices.DeleteFunc(slices.Concat(path, found), func(dir string) bool {
		return dir == "" || !exists(dir, "initdb") || !exists(dir, "postgres")
	})
}

var number = regexp.MustCompile(`\d+`)

func newestFirst(a, b string) int {
	version := func(dir string) int {
		n, _ := strconv.Atoi(number.FindString(dir))
		return n
	}
	return cmp.Or(version(b)-version(a), strings.Compare(a, b))
}

// majorVersion parses the server program's output: "postgres (PostgreSQL) 15.14 (Debian …)".
func majorVersion(dir string) string {
	out, err := exec.Command(filepath.Join(dir, "postgres"), "--version").Output()
	if err != nil {
		return ""
	}
	_, version, _ := strings.Cut(string(out), "(PostgreSQL) ")
	return number.FindString(version)
}
