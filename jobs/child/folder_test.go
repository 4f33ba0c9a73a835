//go:build unix

package child_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs/child"
)

// stranger is a user without rights: nobody on most systems.
var stranger = &child.User{UID: 65534, GID: 65534}

func TestDataFolder_MustNotBeWritableForOthers(t *testing.T) {
	t.Parallel()
	for _, mode := range []os.FileMode{0o777, 0o775, 0o770, 0o722, 0o702, 0o777 | os.ModeSticky} {
		dir := filepath.Join(openDir(t), "data")
		require.NoError(t, os.Mkdir(dir, 0o700))
		require.NoError(t, os.Chmod(dir, mode))
		if os.Geteuid() == 0 {
			require.NoError(t, os.Chown(dir, 0, int(stranger.GID))) // root's own group may write
		}

		_, err := child.DataFolder(dir)

		require.EqualError(t, err, "other users can write the data folder "+dir+": run `chmod go-w "+dir+
			"`, or set WARREN_DATA to another folder")
		require.NoError(t, os.Chmod(dir, mode&^(0o022|os.ModeSticky)))
		_, err = child.DataFolder(dir)
		require.NoError(t, err, "%v, after that command", mode)
	}
}

func TestDataFolder_OfRootIsRefusedWhereAnotherUserCouldReplaceIt(t *testing.T) {
	t.Parallel()
	onlyRoot(t)
	mkdir := func(path string, mode os.FileMode, owner int) string {
		require.NoError(t, os.Mkdir(path, 0o700))
		require.NoError(t, os.Chmod(path, mode))
		require.NoError(t, os.Lchown(path, owner, 0))
		return path
	}
	link := func(target, path string, owner int) string {
		require.NoError(t, os.Symlink(target, path))
		require.NoError(t, os.Lchown(path, owner, 0))
		return path
	}
	nobody := int(stranger.UID)
	ours := func(path string) string { return mkdir(path, 0o711, 0) }
	theirs := func(path string) string { return mkdir(path, 0o755, nobody) }
	open := func(path string) string { return mkdir(path, 0o777, 0) }
	sticky := func(path string) string { return mkdir(path, 0o777|os.ModeSticky, 0) }
	for name, c := range map[string]struct {
		make  func(at string) (data string)
		wrong string // "" means that it is taken
	}{
		"a folder of root's":        {func(at string) string { return ours(at + "/d") }, ""},
		"a new folder":              {func(at string) string { return at + "/d/e" }, ""},
		"a folder for root's group": {func(at string) string { return mkdir(at+"/d", 0o775, 0) }, ""},
		"below a sticky folder":     {func(at string) string { return ours(sticky(at+"/p") + "/d") }, ""},
		"behind a link of root's":   {func(at string) string { return link(ours(at+"/d"), at+"/l", 0) }, ""},
		"behind a relative link":    {func(at string) string { return link(".././"+filepath.Base(at)+"/d", at+"/l", 0) }, ""},

		"another user's folder":        {func(at string) string { return theirs(at + "/d") }, "AT/d belongs to"},
		"a new one in another user's":  {func(at string) string { return theirs(at+"/p") + "/d" }, "AT/p belongs to"},
		"root's in another user's":     {func(at string) string { return ours(theirs(at+"/p") + "/d") }, "AT/p belongs to"},
		"below what all may write":     {func(at string) string { return ours(open(at+"/p") + "/d") }, "others can write AT/p"},
		"a new one where all write":    {func(at string) string { return open(at+"/p") + "/d" }, "others can write AT/p"},
		"another's in a sticky folder": {func(at string) string { return theirs(sticky(at+"/p") + "/d") }, "AT/p/d belongs to"},
		"another's link to root's":     {func(at string) string { return link(ours(at+"/d"), at+"/l", nobody) }, "AT/l belongs to"},
		"another's link on the way":    {func(at string) string { return link(ours(at+"/d"), at+"/l", nobody) + "/e" }, "AT/l belongs to"},
		"another's link to nothing":    {func(at string) string { return link(at+"/none", at+"/l", nobody) }, "AT/l belongs to"},
		"root's link into another's":   {func(at string) string { return link(theirs(at+"/p")+"/d", at+"/l", 0) }, "AT/p belongs to"},
		"root's link to another's":     {func(at string) string { return link(theirs(at+"/p"), at+"/l", 0) }, "AT/p belongs to"},
		"a link by way of another's": {func(at string) string { return link(link(ours(at+"/d"), at+"/m", nobody), at+"/l", 0) },
			"AT/m belongs to"},
		"a link to itself": {func(at string) string { return link("l", at+"/l", 0) }, "AT/l (too many levels of symbolic links)"},
	} {
		at := openDir(t)

		data := c.make(at)
		dir, err := child.DataFolder(data)

		if c.wrong == "" {
			require.NoError(t, err, name)
			require.NotContains(t, dir, "/l", "%s: without links", name)
			requireOwner(t, dir, 0)
			continue
		}
		require.ErrorContains(t, err, strings.ReplaceAll(c.wrong, "AT", at), name)
		require.ErrorContains(t, err, "set WARREN_DATA to", name)
		require.NoDirExists(t, at+"/none", name)
		require.NoDirExists(t, at+"/p/d/d", name)
	}
}

func TestFolder_OfAServerIsTakenBackFromItsUser(t *testing.T) {
	t.Parallel()
	onlyRoot(t)
	dir := openDir(t)
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "server/data"), 0o700))
	chown(t, filepath.Join(dir, "server"), filepath.Join(dir, "server/data"))

	path, err := child.Folder(dir, "server", "data", "other")

	require.NoError(t, err)
	requireOwner(t, path, 0)
	requireOwner(t, filepath.Join(path, "data"), stranger.UID)
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o711), info.Mode().Perm())
}

func TestFolder_OfAServerIsNoLink(t *testing.T) {
	t.Parallel()
	onlyRoot(t)
	for _, at := range []string{"server", "server/data"} {
		for _, target := range []string{"victim", "victim/file", "victim/none"} {
			dir, victim := openDir(t), newVictim(t)
			require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, at)), 0o700))
			require.NoError(t, os.Symlink(filepath.Join(filepath.Dir(victim.dir), target), filepath.Join(dir, at)))

			_, err := child.Folder(dir, "server", "data")

			require.ErrorContains(t, err, filepath.Join(dir, at)+" is a link, or not a folder", "%s -> %s", at, target)
			victim.requireUntouched(t)
		}
	}
}

func TestFolder_OfAServerHoldsNoSecondNameOfAFileOfRoots(t *testing.T) {
	t.Parallel()
	onlyRoot(t)
	dir, victim := openDir(t), newVictim(t)
	path := filepath.Join(dir, "server")
	require.NoError(t, os.Mkdir(path, 0o711))
	require.NoError(t, os.Link(victim.file, filepath.Join(path, "log")))
	chown(t, path)
	for range 2 { // it stays refused
		_, err := child.Folder(dir, "server")
		require.ErrorContains(t, err, path+"/log is another file of root's by a second name")
	}
	require.NoError(t, os.Remove(filepath.Join(path, "log")))
	_, err := child.Folder(dir, "server")
	require.NoError(t, err)
	victim.requireUntouched(t)
}

func TestGive_ChangesTheFolderAndWhatIsInItAndNothingElse(t *testing.T) {
	t.Parallel()
	onlyRoot(t)
	victim := newVictim(t)
	path := filepath.Join(openDir(t), "data")
	require.NoError(t, os.MkdirAll(filepath.Join(path, "deep/er"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(path, "deep/file"), []byte("kept"), 0o644))
	require.NoError(t, os.Symlink(victim.file, filepath.Join(path, "link")))
	require.NoError(t, os.Symlink(victim.dir, filepath.Join(path, "deep/folder")))

	require.NoError(t, child.Give(path, stranger))

	for _, name := range []string{".", "deep", "deep/er", "deep/file", "deep/folder", "link"} {
		requireOwner(t, filepath.Join(path, name), stranger.UID)
	}
	victim.requireUntouched(t)

	// From now on the user can put there what it likes.
	require.NoError(t, os.Link(victim.file, filepath.Join(path, "second name")))
	require.NoError(t, child.Give(path, stranger))
	require.NoError(t, os.Remove(filepath.Join(path, "second name")))
	victim.requireUntouched(t)
}

func TestGive_RefusesALink(t *testing.T) {
	t.Parallel()
	onlyRoot(t)
	victim := newVictim(t)
	for _, target := range []string{victim.dir, victim.file, victim.dir + "/none"} {
		path := filepath.Join(openDir(t), "data")
		require.NoError(t, os.Symlink(target, path))

		require.ErrorContains(t, child.Give(path, stranger), path+" is a link, or not a folder")
		victim.requireUntouched(t)
	}
}

// victim is a file of root's, with its folder, which nobody may change, read or give away.
type victim struct{ dir, file string }

func newVictim(t *testing.T) victim {
	t.Helper()
	dir := filepath.Join(openDir(t), "victim")
	v := victim{dir, filepath.Join(dir, "file")}
	require.NoError(t, os.Mkdir(dir, 0o700))
	require.NoError(t, os.WriteFile(v.file, []byte("precious"), 0o600))
	return v
}

func (v victim) requireUntouched(t *testing.T) {
	t.Helper()
	text, err := os.ReadFile(v.file)
	require.NoError(t, err)
	require.Equal(t, "precious", string(text))
	for path, mode := range map[string]os.FileMode{v.dir: 0o700, v.file: 0o600} {
		info, err := os.Lstat(path)
		require.NoError(t, err)
		require.Equal(t, mode, info.Mode().Perm())
		requireOwner(t, path, uint32(os.Geteuid()))
	}
	entries, err := os.ReadDir(v.dir)
	require.NoError(t, err)
	require.Len(t, entries, 1)
}

// openDir returns a folder whose parents every user may enter, unlike t.TempDir's.
func openDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "warren-child-")
	require.NoError(t, err)
	require.NoError(t, os.Chmod(dir, 0o711))
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func chown(t *testing.T, paths ...string) {
	t.Helper()
	for _, path := range paths {
		require.NoError(t, os.Lchown(path, int(stranger.UID), int(stranger.GID)))
	}
}

func requireOwner(t *testing.T, path string, uid uint32) {
	t.Helper()
	info, err := os.Lstat(path)
	require.NoError(t, err)
	require.Equal(t, uid, info.Sys().(*syscall.Stat_t).Uid, path)
}

func onlyRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root runs servers as other users")
	}
}
