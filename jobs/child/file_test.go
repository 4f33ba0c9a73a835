//go:build unix

package child_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs/child"
)

// traps puts things in the place of a file that another user could put there.
var traps = map[string]func(t *testing.T, path string, v victim){
	"a link to a file":   func(t *testing.T, path string, v victim) { require.NoError(t, os.Symlink(v.file, path)) },
	"a link to a folder": func(t *testing.T, path string, v victim) { require.NoError(t, os.Symlink(v.dir, path)) },
	"a link to nothing":  func(t *testing.T, path string, v victim) { require.NoError(t, os.Symlink(v.dir+"/none", path)) },
	"a link to itself":   func(t *testing.T, path string, _ victim) { require.NoError(t, os.Symlink(path, path)) },
	"a link to a link":   func(t *testing.T, path string, v victim) { linkTwice(t, path, v.file) },
	secondName:           func(t *testing.T, path string, v victim) { require.NoError(t, os.Link(v.file, path)) },
	"a named pipe":       func(t *testing.T, path string, _ victim) { require.NoError(t, syscall.Mkfifo(path, 0o666)) },
	"a folder":           func(t *testing.T, path string, _ victim) { require.NoError(t, os.Mkdir(path, 0o777)) },
	"another user's file": func(t *testing.T, path string, _ victim) {
		onlyRoot(t)
		require.NoError(t, os.WriteFile(path, []byte("forged"), 0o666))
		chown(t, path)
	},
	"another user's link": func(t *testing.T, path string, v victim) {
		onlyRoot(t)
		require.NoError(t, os.Symlink(v.file, path))
		chown(t, path)
	},
}

const secondName = "a second name of a file"

func linkTwice(t *testing.T, path, target string) {
	require.NoError(t, os.Symlink(target, path+".first"))
	require.NoError(t, os.Symlink(path+".first", path))
}

func TestFile_OfAnotherUsersMakingIsNeitherReadNorWritten(t *testing.T) {
	t.Parallel()
	for name, set := range traps {
		if name == secondName {
			continue // Folder looks for them
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := newVictim(t)
			path := filepath.Join(openDir(t), "file")
			set(t, path, v)

			_, err := child.Secret(path)
			require.Error(t, err, "a secret")
			_, err = child.Start(child.Spec{Path: "sh", Args: []string{"-c", "echo written; echo $0"}, Log: path})
			require.Error(t, err, "a log")
			_, err = child.OpenOwn(path, os.O_CREATE|os.O_RDWR, 0o600)
			require.Error(t, err, "a lock")
			v.requireUntouched(t)
		})
	}
}

func TestFile_IsReplacedAndNotWhatItsNameStandsFor(t *testing.T) {
	t.Parallel()
	for name, set := range traps {
		for _, suffix := range []string{"", ".new"} {
			t.Run(name+suffix, func(t *testing.T) {
				t.Parallel()
				v := newVictim(t)
				path := filepath.Join(openDir(t), "file")
				set(t, path+suffix, v)

				err := child.WriteOwn(path, []byte("ours"), 0o600, nil)

				if name == "a folder" && suffix == "" {
					require.Error(t, err)
				} else {
					require.NoError(t, err)
					text, err := child.ReadOwn(path)
					require.NoError(t, err)
					require.Equal(t, "ours", string(text))
				}
				_ = os.Remove(path + suffix)
				v.requireUntouched(t)
			})
		}
	}
}

func TestReadGiven_StaysInTheFolderAndWaitsForNobody(t *testing.T) {
	t.Parallel()
	for name, set := range traps {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := newVictim(t)
			dir := openDir(t)
			set(t, filepath.Join(dir, "file"), v)

			text, err := child.ReadGiven(dir, "file")

			switch name {
			case secondName: // nothing tells it from a file of the server's; it is only read
			case "another user's file":
				require.NoError(t, err)
				require.Equal(t, "forged", string(text))
			default:
				require.Error(t, err)
			}
		})
	}
	dir := openDir(t)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "long"), make([]byte, 1<<20), 0o600))
	text, err := child.ReadGiven(dir, "long")
	require.NoError(t, err)
	require.LessOrEqual(t, len(text), 4<<10)
}

func TestChild_OfAnotherUserReadsItsInputByName(t *testing.T) {
	t.Parallel()
	spec := child.Spec{Path: "sh", Args: []string{"-c", "cat /dev/stdin; id -u"}, Log: logFile(t), Dir: "/", Input: "a secret\n"}
	if os.Geteuid() == 0 {
		spec.User = stranger
	}
	p, err := child.Start(spec)
	require.NoError(t, err)
	<-p.Done()
	lines := p.Tail(2)
	require.Equal(t, "a secret", lines[0])
	if spec.User != nil {
		require.Equal(t, "65534", lines[1])
	}
}
