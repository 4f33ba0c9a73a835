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
)

// ErrNotInstalled says that no PostgreSQL was found on this machine.
var ErrNotInstalled = errors.New("PostgreSQL is not installed: " + install() + ", start Docker, or set DATABASE_URL")

func install() string {
	if runtime.GOOS == "darwin" {
		return "brew install postgresql"
	}
	return "apt-get install postgresql"
}

// Check says, in one sentence, why a Start on dir could not work: an error that
// is ErrNotInstalled without any PostgreSQL, and others where the data needs a
// version that is missing, or the server's user cannot enter dir.
func Check(dir string) error {
	home, err := openFolder(dir)
	if err != nil {
		return err
	}
	binaries, err := home.binaries()
	if err != nil {
		return err
	}
	_, err = (&cluster{folder: home, binaries: binaries}).owner()
	return err
}

// places is where PostgreSQL's programs are kept, beside PATH.
var places = []string{
	"/usr/lib/postgresql/*/bin",
	"/usr/pgsql-*/bin",
	"/opt/homebrew/opt/postgresql*/bin",
	"/usr/local/opt/postgresql*/bin",
	"/usr/local/pgsql/bin",
}

// binaries finds the folder of programs that can run the data: those of its
// own major version, or for new data the first on PATH, else the newest.
func (f folder) binaries() (string, error) {
	found := findBinaries(filepath.SplitList(os.Getenv("PATH")), places)
	if len(found) == 0 {
		return "", ErrNotInstalled
	}
	text, err := os.ReadFile(filepath.Join(f.data(), "PG_VERSION"))
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

// majorVersion asks the server program: "postgres (PostgreSQL) 15.14 (Debian …)".
func majorVersion(dir string) string {
	out, err := exec.Command(filepath.Join(dir, "postgres"), "--version").Output()
	if err != nil {
		return ""
	}
	_, version, _ := strings.Cut(string(out), "(PostgreSQL) ")
	return number.FindString(version)
}
