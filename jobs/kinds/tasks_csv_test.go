package kinds

import (
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"golang.org/x/text/encoding/unicode"

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
		"":                                "the file is empty",
		"\n\n":                            "the file is empty",
		"name,priority\na,b\n":            `"name" is none of them`,
		"priority\nlow\n":                 "no column description",
		"description,description\na,b\n":  "names the column description twice",
		"\x00\x01\x02\xff":                "is none of them",
		"\uFEFF":                          "the file is empty",
		"sep=;\n":                         "the file is empty",
		";;;\n\n":                         "the file is empty",
		"description,note\na,b\n":         `"note" is none of them`,
		"Description,description \na,b\n": "names the column description twice",
		"description|done\na|no\n":        `"description|done" is none of them`,
		"<!DOCTYPE html>\n<p>":            `"<!doctype html>" is none of them`,
		"sep=\"\ndescription\n":           "has a quote",
		"\"description,priority\na,low\n": "lines 1 to 2 were read as one",
		"PK\x03\x04\x14\x00\x06\x00":      "a workbook of a spreadsheet",
		"\xD0\xCF\x11\xE0\xA1\xB1":        "a workbook of a spreadsheet",
		"\x1F\x8B\x08\x00":                "is compressed",
		"\xFF\xFE\x00\x00d\x00\x00\x00":   "is none of them", // UTF-32
	} {
		_, err := newTaskReader(strings.NewReader(file))
		require.ErrorContains(t, err, want, "%q", file)
		require.True(t, jobs.IsPermanent(err), "%q", file)
	}
}

// utf16 writes a file as spreadsheets write "Unicode text".
func utf16(order unicode.Endianness, mark unicode.BOMPolicy, file string) string {
	out, err := unicode.UTF16(order, mark).NewEncoder().String(file)
	if err != nil {
		panic(err)
	}
	return out
}

func TestTasksCSV_FilesOfOtherProgramsAreUnderstood(t *testing.T) {
	t.Parallel()
	const file = "description,priority,due_at\nGröße,high,2026-12-01\n\"Call Ada,\n then Grace\",,\n"
	semicolons := strings.ReplaceAll(strings.ReplaceAll(file, ",", ";"), "Ada;", "Ada,")
	tabs := strings.ReplaceAll(semicolons, ";", "\t")
	for name, file := range map[string]string{
		"LF":                      file,
		"CRLF":                    strings.ReplaceAll(file, "\n", "\r\n"),
		"CR":                      strings.ReplaceAll(file, "\n", "\r"),
		"CR CRLF":                 strings.ReplaceAll(file, "high,2026-12-01\n", "high,2026-12-01\r\r\n"),
		"mixed line ends":         strings.Replace(file, "\n", "\r\n", 1),
		"no line end at the end":  strings.TrimSuffix(file, "\n"),
		"UTF-8 with a mark":       "\uFEFF" + file,
		"UTF-16LE":                utf16(unicode.LittleEndian, unicode.UseBOM, file),
		"UTF-16BE":                utf16(unicode.BigEndian, unicode.UseBOM, file),
		"UTF-16LE without a mark": utf16(unicode.LittleEndian, unicode.IgnoreBOM, file),
		"UTF-16BE without a mark": utf16(unicode.BigEndian, unicode.IgnoreBOM, file),
		"UTF-16LE, tabs, CR":      utf16(unicode.LittleEndian, unicode.UseBOM, strings.ReplaceAll(tabs, "\n", "\r")),
		"semicolons":              semicolons,
		"tabs":                    tabs,
		"sep=;":                   "sep=;\r\n" + semicolons,
		"mark, sep=;":             "\uFEFFsep=;\n" + semicolons,
		"UTF-16, sep=;":           utf16(unicode.LittleEndian, unicode.UseBOM, "sep=;\r\n"+semicolons),
		"CR, sep=;":               strings.ReplaceAll("sep=;\n"+semicolons, "\n", "\r"),
		"quoted sep":              "\"sep=;\"\n" + semicolons,
		"sep with delimiters":     "SEP=,;;\n" + file,
		"sep=tab":                 "sep=\t\n" + tabs,
		"sep=|":                   "sep=|\n" + strings.ReplaceAll(semicolons, ";", "|"),
		"quoted header":           strings.Replace(file, "description,priority,due_at", `"description","priority","due_at"`, 1),
		"header with blanks, in other case": strings.Replace(file, "description,priority,due_at",
			"\u00a0 Description ,PRIORITY , Due_At ", 1),
		"empty lines":                    "\n\n" + strings.ReplaceAll(file, "Grö", "\n\nGrö") + "\n\n",
		"empty lines before semicolons":  "\r\n\r\n" + semicolons,
		"lines of delimiters":            ",,\n" + strings.ReplaceAll(file, "Grö", ",,\n , ,\nGrö") + ",,,,,,\n\"\",,\n",
		"delimiters at the end":          "description,priority,due_at,,\nGröße,high,2026-12-01,,\n\"Call Ada,\n then Grace\",,,,\n",
		"delimiters at the end of lines": strings.ReplaceAll(file, "2026-12-01", "2026-12-01, ,"),
		"blanks before quotes":           strings.Replace(file, `"Call`, `  "Call`, 1),
	} {
		require.NoError(t, checkEncoding(strings.NewReader(file)), name)
		taken, refused := readAll(t, file, func() int { return 1 })
		require.Empty(t, refused, name)
		require.Len(t, taken, 2, name)
		require.Equal(t, "Größe", taken[0].Description, name)
		require.Equal(t, tasks.PriorityHigh, taken[0].Priority, name)
		require.NotNil(t, taken[0].DueAt, name)
		require.Equal(t, "Call Ada,\n then Grace", taken[1].Description, name)
	}
	taken, refused := readAll(t, "description\nA\nB \"1\"\nC, D\n\"E, F\"\nG\x00\n", func() int { return 10 })
	require.Equal(t, []tasks.LineError{{Line: 3, Error: `has a quote (") inside of a field: put the field in quotes and double the quote`},
		{Line: 4, Error: `has 2 fields, but the first line names 1: a field that contains ',' must be in quotes`},
		{Line: 6, Error: "description: must be plain text"}}, refused)
	require.Len(t, taken, 2, "a file with one column")
}

func TestTasksCSV_AFileInAnOlderEncodingIsNamedAsAWhole(t *testing.T) {
	t.Parallel()
	for name, file := range map[string]string{
		"Windows-1252": "description\nplain\nGr\xf6\xdfe\n", "Windows-1251": "description\na\n\xcf\xf0\xe8\xe2\xe5\xf2",
		"Shift JIS": "description\r\n\r\n\x83\x65\x83\x58\x83\x67\r\n", "Mac Roman": "description\ra\rGr\x9a\xa7e\r",
	} {
		err := checkEncoding(strings.NewReader(file))
		require.ErrorContains(t, err, "is not in UTF-8 (see line 3)", name)
		require.True(t, jobs.IsPermanent(err), name)
	}
	damaged := "description\nGröße\nGr\xf6\xdfe\n"
	require.NoError(t, checkEncoding(strings.NewReader(damaged)), "most of it is UTF-8")
	taken, refused := readAll(t, damaged, func() int { return 10 })
	require.Len(t, taken, 1)
	require.Equal(t, []tasks.LineError{{Line: 3, Error: "description: is not UTF-8"}}, refused)
}

func TestTasksCSV_EachLineThatAnUnclosedQuoteSwallowsIsNamed(t *testing.T) {
	t.Parallel()
	lines := make([]string, 501)
	lines[0] = "description,priority"
	for i := 1; i < len(lines); i++ {
		lines[i] = fmt.Sprintf("Task %d,low", i+1)
	}
	lines[2] = `"never closed,low`
	check := func(last, missing int) {
		file := strings.Join(lines, "\n") + "\n"
		for _, file := range []string{file, strings.TrimSuffix(file, "\n"), strings.ReplaceAll(file, "\n", "\r\n"), "sep=,\n" + file} {
			taken, refused := readAll(t, file, func() int { return 100 })
			require.Len(t, taken, len(lines)-1-missing)
			require.Len(t, refused, missing, "the counts tell how many are missing")
			first := 3 + strings.Count(file, "sep=")
			require.Equal(t, tasks.LineError{Line: first, Error: fmt.Sprintf(
				`has a quote (") that is neither closed nor doubled; lines %d to %d were read as one`, first, first+last-3)}, refused[0])
			require.Equal(t, tasks.LineError{Line: first + last - 3, Error: fmt.Sprintf("was read as a part of line %d", first)},
				refused[len(refused)-1])
		}
	}
	check(501, 499)
	lines[399] = `"Task 400",low`
	check(400, 398)
	lines[399] = `Task "400",low`
	check(400, 398)
}

func TestTasksCSV_ARefusedRecordOfSeveralLinesNamesThemAll(t *testing.T) {
	t.Parallel()
	file := "description,priority\n\"open,low\nB,low\nC\",urgent\nD,low\n\"E\nF\"\n" // the quote of line 4 was to open a field
	taken, refused := readAll(t, file, func() int { return 1 })
	require.Len(t, taken, 1)
	require.Equal(t, []tasks.LineError{
		{Line: 2, Error: `priority: "urgent" is not a valid priority: it is none, low, medium or high; lines 2 to 4 were read as one`},
		{Line: 3, Error: "was read as a part of line 2"}, {Line: 4, Error: "was read as a part of line 2"},
		{Line: 6, Error: "has 1 of the 2 fields that the first line names; lines 6 to 7 were read as one"},
		{Line: 7, Error: "was read as a part of line 6"}}, refused)
}

func TestTasksCSV_AllThatIsWrongWithALineIsSaid(t *testing.T) {
	t.Parallel()
	_, refused := readAll(t, "description;priority;due_at;done\n;hoch;01.12.2026;ja\n\xff;low;;\n", func() int { return 10 })
	require.Equal(t, []tasks.LineError{{Line: 2, Error: `due_at: "01.12.2026" is not a valid time. ` +
		`Use 2026-01-31, 2026-01-31 15:04 (UTC) or 2026-01-31T15:04:05+01:00; ` +
		`done: "ja" is neither yes nor no; description: is required; ` +
		`priority: "hoch" is not a valid priority: it is none, low, medium or high`},
		{Line: 3, Error: "description: is not UTF-8"}}, refused)
}

func TestTasksCSV_ALineThatIsTooLongEndsTheImportBehindTheLinesBefore(t *testing.T) {
	t.Parallel()
	for _, long := range []string{`"` + strings.Repeat("x\n", 1<<20), strings.Repeat("x", 1<<20)} {
		r, err := newTaskReader(strings.NewReader("description\na\n\"b\nc\"\n" + long))
		require.NoError(t, err)
		for _, n := range []int{2, 0, 0} {
			b, err := r.batch(0, 500)
			require.EqualError(t, err, "the line after line 4 is longer than 256 KiB: is a quote never closed?")
			require.True(t, jobs.IsPermanent(err))
			require.Len(t, b.Tasks, n)
		}
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

// FuzzTaskReader checks that reading any file ends, finds the same tasks and refused lines in batches as at
// once, and names no line twice.
func FuzzTaskReader(f *testing.F) {
	for _, s := range []string{"a,b\nc,d\n", "\"x\ny\",high\n", "\"un\"quoted,low\n,,,\n", "é;ß\n\r\n\"", "a,none\n\xff,low\n",
		"\"never closed,low\nb,low\n\"c\",low\n", "a,low\r\"b\rc\",\r", "a,,\n\n,,,,\nb,low,2026-12-03 14:00:00+00\n"} {
		f.Add("description,priority\n" + s)
	}
	f.Add("sep=;\r\ndescription;due_at;\r\na;2026-12-01;\r\n;;\r\n")
	f.Add("description\tdone\ra\tx\r\"b")
	f.Add(utf16(unicode.LittleEndian, unicode.UseBOM, "description\tpriority\nGröße\tlow\n"))
	f.Fuzz(func(t *testing.T, file string) {
		read := func(limit int) (all tasks.ImportBatch, err error) {
			for {
				r, err := newTaskReader(strings.NewReader(file))
				if err != nil {
					return all, err
				}
				b, err := r.batch(all.Done, limit)
				if err != nil || b.Done == all.Done {
					return all, err
				}
				require.Greater(t, b.Done, all.Done)
				all.Done, all.Tasks, all.Refused = b.Done, append(all.Tasks, b.Tasks...), append(all.Refused, b.Refused...)
			}
		}
		whole, err := read(1 << 20)
		single, err1 := read(1)
		require.Equal(t, err == nil, err1 == nil)
		if err == nil {
			require.Equal(t, whole, single)
		}
		for i, e := range whole.Refused {
			require.NotEmpty(t, e.Error)
			require.True(t, i == 0 || e.Line > whole.Refused[i-1].Line, "%v", whole.Refused)
		}
		for _, task := range whole.Tasks {
			require.NoError(t, task.Prepare())
		}
		var fields jobs.FieldErrors
		require.NotErrorAs(t, err, &fields)
		require.NotErrorAs(t, checkEncoding(strings.NewReader(file)), &fields)
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
		require.ErrorContains(t, err, "the first line is longer")
		require.True(t, jobs.IsPermanent(err))
	}
}

func TestTasksCSV_EmptyFieldsOfATabSeparatedFileAreFields(t *testing.T) {
	t.Parallel()
	file := "description\tpriority\tstart_at\tdue_at\tdone\nRenew\thigh\t\t2026-12-01\tno\n" +
		"\t\tx\t\t\nAll\tlow\t2026-01-01\t2026-12-01\tno\n"
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
