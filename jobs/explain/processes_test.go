package explain_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/jobs/explain"
)

func TestGone_SaysWhatEndedHowAndHowOften(t *testing.T) {
	t.Parallel()
	now := time.Now()
	process := func(name string, s engine.ProcessState, ago time.Duration, queues []string, roles ...string) engine.Process {
		return engine.Process{Name: name, State: s, SeenAt: now.Add(-ago), Roles: roles, Details: engine.ProcessDetails{Queues: queues}}
	}
	lost := func(ago time.Duration) engine.Process {
		return process("reports", engine.ProcessIsGone, ago, []string{"reports"}, "worker")
	}
	lostFrom := func(ago time.Duration) (list []engine.Process) { // four, 6 s apart
		for i := range time.Duration(4) {
			list = append(list, lost((ago+6*i)*time.Second))
		}
		return list
	}
	stopped := process("mail", engine.ProcessStopped, time.Minute, []string{"mail", "news", "c", "d"}, "worker")
	for name, c := range map[string]struct {
		list   []engine.Process
		text   string
		groups []string
	}{
		"none": {nil, "", nil},
		"one": {[]engine.Process{lost(20 * time.Second)}, "1 process gone in the last 5 min: 1 lost.",
			[]string{"1 worker on reports lost"}},
		"those that a poison job takes": {[]engine.Process{lost(20 * time.Second), lost(22 * time.Second), lost(24 * time.Second)},
			"3 processes gone in the last 5 min: 3 lost.", []string{"3 workers on reports lost"}},
		"a loss that repeats": {append(lostFrom(20), stopped),
			"5 processes gone in the last 5 min: 4 lost, 1 stopped. Workers on reports die about every 6 s.",
			[]string{"4 workers on reports lost, one about every 6 s", "1 worker on mail, news and 2 more stopped"}},
		"a loss that no longer repeats": {lostFrom(200),
			"4 processes gone in the last 5 min: 4 lost.", []string{"4 workers on reports lost, one about every 6 s"}},
		"several roles": {[]engine.Process{process("a", engine.ProcessStopped, time.Second, nil, "web", "relay"),
			process("b", engine.ProcessIsGone, time.Minute, []string{"default"}, engine.ProcessRoles...),
			process("c", engine.ProcessStopped, time.Minute, nil, "web", "relay"),
			process("d", engine.ProcessIsGone, time.Minute, nil, "relay")},
			"4 processes gone in the last 5 min: 2 lost, 2 stopped.",
			[]string{"2 web and relay processes stopped", "1 process with all roles lost", "1 relay lost"}},
	} {
		gone := explain.GoneProcesses(c.list, now)
		require.Equal(t, c.text, gone.Text, name)
		var groups []string
		for _, g := range gone.Groups {
			groups = append(groups, g.Text)
		}
		require.Equal(t, c.groups, groups, name)
	}
}
