package kinds

import (
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/tasks"
)

// readAll reads a file like an import that is killed after every batch.
func readAll(t *testing.T, file string, limit func() int) (taken []tasks.Input, refused []tasks.LineError) {
	t.Helper()
	var done int64
	for {
		r, err := newTaskReader(strings.NewReader(file))
		require.NoError(t, err)
		b, err := r.batch(done, limit())
		require.NoError(t, err)
		if b.Done == done {
			return taken, refused
		}
		done = b.Done
		taken, refused = append(taken, b.Tasks...), append(refused, b.Refused...)
	}
}

func TestTasksCSV_AnImportKilledAnywhereNeitherRepeatsNorSkipsALine(t *testing.T) {
	t.Parallel()
	file := strings.Builder{}
	file.WriteString("\uFEFFdescription;priority;done\r\n")
	for i := range 500 {
		switch i % 10 {
		case 3:
			fmt.Fprintf(&file, "Task %d;urgent;no\n", i)
		case 5:
			fmt.Fprintf(&file, "\"Task %d\nof two lines; with \"\"quotes\"\"\";high;yes\r\n", i)
		case 6:
			fmt.Fprintf(&file, "\n\nTask %d;low;\n", i)
		case 7:
			fmt.Fprintf(&file, "Task %d\n", i)
		case 8:
			fmt.Fprintf(&file, "Ta\"sk\" %d;;\n", i)
		default:
			fmt.Fprintf(&file, "Task %d;medium;x\n", i)
		}
	}
	taken, refused := readAll(t, file.String(), func() int { return 1_000 })
	require.Len(t, taken, 350)
	require.Len(t, refused, 150)
	require.Equal(t, tasks.LineError{Line: 5, Error: `priority: "urgent" is not a valid priority: it is none, low, medium or high`},
		refused[0])
	for range 20 {
		random := rand.New(rand.NewPCG(rand.Uint64(), 1))
		sameTasks, sameRefused := readAll(t, file.String(), func() int { return 1 + random.IntN(60) })
		require.Equal(t, taken, sameTasks)
		require.Equal(t, refused, sameRefused)
	}
}

func TestTasksCSV_AFileThatIsNoneIsRefusedAsAWhole(t *testing.T) {
	t.Parallel()
	for file, want := range map[string]string{
		"":                               "the file is empty",
		"\n\n":                           "the file is empty",
		"name,priority\na,b\n":           `"name" is none of them`,
		"priority\nlow\n":                "no column description",
		"description,description\na,b\n": "names the column description twice",
		"\x00\x01\x02\xff":               "is none of them",
	} {
		_, err := newTaskReader(strings.NewReader(file))
		require.ErrorContains(t, err, want, "%q", file)
	}
}

func TestTasksCSV_AQuoteThatIsNeverClosedDoesNotTakeTheFileIntoMemory(t *testing.T) {
	t.Parallel()
	r, err := newTaskReader(io.MultiReader(strings.NewReader("description\n\"open"), io.LimitReader(endless{}, 64<<20)))
	require.NoError(t, err)
	_, err = r.batch(0, 10)
	require.ErrorContains(t, err, "is a quote never closed?")
	require.Less(t, r.source.given, int64(3<<20))
}

type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'a'
	}
	return len(p), nil
}

// FuzzTaskReader checks that reading any file ends, and finds the same number of lines in batches
// as at once.
func FuzzTaskReader(f *testing.F) {
	for _, s := range []string{"a,b\nc,d\n", "\"x\ny\",high\n", "\"un\"quoted,low\n,,,\n", "é;ß\n\r\n\"", "a,none\n\xff,low\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, body string) {
		file := "description,priority\n" + body
		count := func(limit int) (n int, err error) {
			var done int64
			for {
				r, err := newTaskReader(strings.NewReader(file))
				if err != nil {
					return 0, err
				}
				b, err := r.batch(done, limit)
				if err != nil || b.Done == done {
					return n, err
				}
				require.Greater(t, b.Done, done)
				done = b.Done
				n += len(b.Tasks) + len(b.Refused)
			}
		}
		whole, err := count(1 << 20)
		one, err1 := count(1)
		require.Equal(t, err == nil, err1 == nil)
		require.Equal(t, whole, one)
		var fields jobs.FieldErrors
		require.NotErrorAs(t, err, &fields)
	})
}

func TestTasksCSV_AnExportHoldsNoFormulaAndIsImportedAsItWas(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"=1+1", "+49 30 1", "- milk", "@SUM(A1)", "'=1+1", "''-x", "'", "''", "'quoted'", "plain", "a=b", "é"} {
		cell := guarded(text)
		require.NotContains(t, "=+-@", cell[:1], text)
		taken, refused := readAll(t, "description,done\n\""+cell+"\",no\n", func() int { return 10 })
		require.Empty(t, refused)
		require.Len(t, taken, 1)
		require.Equal(t, text, taken[0].Description)
	}
}

func TestTasksCSV_TheFirstLineIsBoundedAsTheOthers(t *testing.T) {
	t.Parallel()
	for _, file := range []string{strings.Repeat("x", 8<<20), `"` + strings.Repeat("x", 8<<20), strings.Repeat("description,", 1<<20)} {
		_, err := newTaskReader(strings.NewReader(file))
		require.ErrorContains(t, err, "a line is longer")
		require.True(t, jobs.IsPermanent(err))
	}
}

func TestTasksCSV_EmptyFieldsOfATabSeparatedFileAreFields(t *testing.T) {
	t.Parallel()
	file := "description\tpriority\tstart_at\tdue_at\tdone\nRenew\thigh\t\t2026-12-01\tno\n\t\t\t\t\nAll\tlow\t2026-01-01\t2026-12-01\tno\n"
	taken, refused := readAll(t, file, func() int { return 10 })
	require.Len(t, taken, 2)
	require.Nil(t, taken[0].StartAt)
	require.NotNil(t, taken[0].DueAt)
	require.Len(t, refused, 1, "a line without a description")
	taken, _ = readAll(t, "priority\tdescription\n\tB\n", func() int { return 10 })
	require.Equal(t, "B", taken[0].Description)
}

func TestTasksCSV_NoTextIsAFormulaToASpreadsheetAndAllComeBack(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"=1+1", "＝1+1", "＋1", "－1", "＠x", "\t=1", "\r=1", "'=1", "plain", "é", "", "-"} {
		cell := guarded(text)
		require.Equal(t, text, unguarded(cell))
		first, _ := utf8.DecodeRuneInString(cell)
		require.NotContains(t, []rune("=+-@\t\r＝＋－＠"), first, cell)
	}
}
