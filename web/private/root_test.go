//go:build unix

package private_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs/child"
)

// victims are files of root's that the servers' users want to have, read or see changed.
type victims struct{ dir string }

// playTricks has the users of both servers do their worst while these run, and leaves traps in what is theirs for the next
// start. It does nothing unless this is root: then the servers run as this user, who may do it all.
func playTricks(t *testing.T, dir string, w *warrenProcess) victims {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Log("without root there are no users to play tricks on it")
		return victims{}
	}
	requireNoRoot(t, w)
	v := victims{privateDir(t)}
	require.NoError(t, os.WriteFile(filepath.Join(v.dir, "file"), []byte("precious"), 0o600))
	for data, tricks := range map[string]string{"postgres/data": postgresTricks, "rabbitmq/mnesia": rabbitTricks} {
		info, err := os.Stat(filepath.Join(dir, data))
		require.NoError(t, err)
		owner := info.Sys().(*syscall.Stat_t)
		require.NotZero(t, owner.Uid)
		log := filepath.Join(t.TempDir(), "log")
		for _, script := range []string{refused + tricks, traps} {
			require.NoError(t, child.Run(t.Context(), child.Spec{Path: "sh", Args: []string{"-c", script, dir, v.dir, data}, Dir: "/",
				Log: log, User: &child.User{UID: owner.Uid, GID: owner.Gid}}))
		}
		text, err := os.ReadFile(log)
		require.NoError(t, err)
		require.NotContains(t, string(text), "DONE", "what the user of %s could do", data)
		require.Contains(t, string(text), "all tried", data)
	}
	return v
}

// The scripts' $0 is the data folder, $1 that of the victims, $2 the folder that is the user's own.
const refused = `
D=$0; V=$1; OWN=$0/$2
no() { if "$@" >/dev/null 2>&1 </dev/null; then echo "DONE: $*"; fi; }
second() { [ "$(cat /proc/sys/fs/protected_hardlinks)" = 0 ] || no ln $1 $OWN/hard; } # else anybody may, and gets nothing by it
for f in servers.json lock; do
	no cat $D/$f; no rm $D/$f; no mv $D/$f $D/x; no ln -sf $V/file $D/$f; no sh -c ": >>$D/$f"; no chmod 666 $D/$f
	second $D/$f
done
for f in servers.json.new x; do no ln -s $V/file $D/$f; no mkfifo $D/$f; no mkdir $D/$f; no sh -c ": >$D/$f"; done
no ls $D; no chmod 777 $D; no mv $D $D.x; no mv $D/postgres $D/x; no mv $D/rabbitmq $D/x; no rmdir $D/postgres
no cat $V/file
tricks() { # of the folder $1, with the name of the data folder in it, and the files that root keeps there
	home=$1; given=$2; shift 2
	no ls $home; no chmod 777 $home; no mv $home/$given $home/x; no rmdir $home/$given; no ln -s $V $home/docker; no mkdir $home/docker
	for f in "$@"; do
		no cat $home/$f; no sh -c ": >>$home/$f"; no rm $home/$f; no mv $home/$f $home/x; no ln -sf $V/file $home/$f
		no chmod 666 $home/$f; no chown $(id -u) $home/$f; second $home/$f; no cp $V/file $home/$f
		for x in .new .1; do no ln -s $V/file $home/$f$x; no mkfifo $home/$f$x; no mkdir $home/$f$x; done
	done
}
`

const postgresTricks = `
tricks $D/postgres data log password superuser
for f in password.initdb new-1 pid; do no ln -s $V/file $D/postgres/$f; no mkdir $D/postgres/$f; done
tricks $D/rabbitmq mnesia log epmd.log elect.log password running enabled_plugins rabbitmq.conf
tricks $D/rabbitmq/home . .erlang.cookie
no ls $D/rabbitmq/mnesia; no ls $D/rabbitmq/logs; no ln -s $V/file $D/rabbitmq/none
no mkdir $D/rabbitmq/conf.d; no ln -s $V $D/rabbitmq/advanced.config
echo all tried
`

const rabbitTricks = `
tricks $D/postgres data log password superuser
tricks $D/rabbitmq mnesia log epmd.log elect.log password running
for f in enabled_plugins rabbitmq.conf home/.erlang.cookie; do
	no rm $D/rabbitmq/$f; no mv $D/rabbitmq/$f $D/rabbitmq/x; no ln -sf $V/file $D/rabbitmq/$f; no mkfifo $D/rabbitmq/$f.new
done
for f in none pid conf.d advanced.config home/.erlang home/.config; do no ln -s $V/file $D/rabbitmq/$f; no mkdir $D/rabbitmq/$f; done
no ls $D/postgres/data; no chmod 777 $D/rabbitmq/home
echo all tried
`

// traps are left in the folder that is the user's own, beside what the server has there.
const traps = `
cd $0/$2 && umask 0 && ln -s $1/file evil && ln -s $1 folder && ln -s $1/none nothing && mkfifo pipe &&
mkdir -p new.d && ln -s $1/file new.d/evil &&
for f in log log.1 password superuser pid erl_crash.dump running postmaster.opts.new; do [ -e $f ] || ln -s $1/file $f; done
`

func (v victims) requireUntouched(t *testing.T) {
	t.Helper()
	if v.dir == "" {
		return
	}
	text, err := os.ReadFile(filepath.Join(v.dir, "file"))
	require.NoError(t, err)
	require.Equal(t, "precious", string(text))
	entries, err := os.ReadDir(v.dir)
	require.NoError(t, err)
	require.Len(t, entries, 1)
	for path, mode := range map[string]os.FileMode{"": 0o711, "file": 0o600} {
		info, err := os.Lstat(filepath.Join(v.dir, path))
		require.NoError(t, err)
		require.Equal(t, mode, info.Mode().Perm())
		require.Zero(t, info.Sys().(*syscall.Stat_t).Uid)
	}
}

// requireNoRoot requires that nothing that the process has started runs as root.
func requireNoRoot(t *testing.T, w *warrenProcess) {
	t.Helper()
	if os.Geteuid() != 0 {
		return
	}
	started := descendants(t, w.pid)
	require.Greater(t, len(started), 5, "postgres and its workers, epmd, beam and its helpers")
	for _, id := range started {
		status, err := os.ReadFile("/proc/" + strconv.Itoa(id.Pid) + "/status")
		if err != nil {
			continue // it has ended
		}
		_, uids, _ := strings.Cut(string(status), "\nUid:")
		uids, _, _ = strings.Cut(uids, "\n")
		for _, uid := range strings.Fields(uids) {
			require.NotEqual(t, "0", uid, "%s", fmt.Sprint(firstLine(status), uids))
		}
	}
}

func firstLine(text []byte) string {
	line, _, _ := strings.Cut(string(text), "\n")
	return line
}
