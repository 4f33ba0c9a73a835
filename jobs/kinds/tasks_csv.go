package kinds

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/tasks"
)

// recordMax limits the bytes of a line: a quote that is never closed must not read the whole file
// into memory.
const recordMax = 256 << 10

var errLineTooLong = fmt.Errorf("is longer than %d KiB: is a quote never closed?", recordMax>>10)

// taskReader reads tasks from a CSV file whose first line names the columns. The delimiter is the
// comma, semicolon or tab, whichever is most frequent in that line, or the one of a line such as
// "sep=;" before it, which spreadsheets write.
type taskReader struct {
	csv     *csv.Reader
	source  *boundedReader
	columns []string
	before  int   // lines before the one that names the columns
	last    int   // line that was read last
	stopped error // the file cannot be read any further
}

// refusedLine reports a line that is not a valid task, or several that were read as one.
type refusedLine struct {
	line, last int
	why        string
}

func (e *refusedLine) Error() string { return fmt.Sprintf("line %d: %s", e.line, e.why) }

// each names each of the lines, so that their number is that of the lines which are missing.
func (e *refusedLine) each() []tasks.LineError {
	all := []tasks.LineError{{Line: e.line, Error: e.why}}
	part := fmt.Sprintf("was read as a part of line %d", e.line)
	for line := e.line + 1; line <= e.last; line++ {
		all = append(all, tasks.LineError{Line: line, Error: part})
	}
	return all
}

func newTaskReader(file io.Reader) (*taskReader, error) {
	text, err := csvText(file)
	if err != nil {
		return nil, err
	}
	head, err := peek(text)
	if err != nil {
		return nil, err
	}
	r := &taskReader{source: &boundedReader{from: text}}
	comma, named := delimiter(head)
	if named > 0 {
		_, _ = text.Discard(named)
		r.before = 1
	}
	r.csv = csv.NewReader(r.source)
	r.csv.Comma, r.csv.FieldsPerRecord, r.csv.ReuseRecord = comma, -1, true
	r.csv.TrimLeadingSpace = !unicode.IsSpace(comma) // else empty fields would be lost
	if err := r.readColumns(); err != nil {
		return nil, err
	}
	return r, nil
}

func (r *taskReader) readColumns() error {
	first, err := r.read()
	for err == nil && len(withoutTail(first, 0)) == 0 {
		first, err = r.read()
	}
	var refused *refusedLine
	switch {
	case errors.Is(err, io.EOF):
		return jobs.Permanent(errors.New("the file is empty: its first line must name the columns, such as " +
			strings.Join(taskColumns, ",")))
	case errors.As(err, &refused):
		return jobs.Permanent(err)
	case err != nil:
		return err
	}
	for _, name := range withoutTail(first, 1) {
		r.columns = append(r.columns, strings.ToLower(strings.TrimSpace(name)))
	}
	return r.checkColumns()
}

func (r *taskReader) checkColumns() error {
	for i, name := range r.columns {
		if !slices.Contains(taskColumns, name) {
			return jobs.Permanent(fmt.Errorf("the first line must name the columns, of %s; %.40q is none of them",
				strings.Join(taskColumns, ", "), name))
		}
		if slices.Contains(r.columns[:i], name) {
			return jobs.Permanent(fmt.Errorf("the first line names the column %s twice", name))
		}
	}
	if !slices.Contains(r.columns, "description") {
		return jobs.Permanent(errors.New("the first line names no column description"))
	}
	return nil
}

// separatorLine is a first line that names the delimiter for spreadsheets.
var separatorLine = regexp.MustCompile(`^(?i:"?sep=)([^"\r\n\x{FFFD}])"?[,;\t ]*\r?\n`)

// delimiter returns the delimiter of a file, and the length of the line that names it, 0 without one.
func delimiter(head []byte) (comma rune, named int) {
	if m := separatorLine.FindSubmatch(head); m != nil {
		comma, _ = utf8.DecodeRune(m[1])
		return comma, len(m[0])
	}
	line, _, _ := bytes.Cut(bytes.TrimLeft(head, "\r\n"), []byte("\n"))
	comma, most := ',', 0
	for _, d := range ",;\t" {
		if n := bytes.Count(line, []byte(string(d))); n > most {
			comma, most = d, n
		}
	}
	return comma, 0
}

// withoutTail drops the empty fields at the end of a record that exceed n: spreadsheets end lines with
// as many delimiters as their widest line has.
func withoutTail(record []string, n int) []string {
	for len(record) > n && strings.TrimSpace(record[len(record)-1]) == "" {
		record = record[:len(record)-1]
	}
	return record
}

// offset returns the offset at which the last line ended, which is the same each time the file is
// read.
func (r *taskReader) offset() int64 { return r.csv.InputOffset() }

// read reads one record. The error is a *refusedLine, or the same again in each further call.
func (r *taskReader) read() ([]string, error) {
	if r.stopped != nil {
		return nil, r.stopped
	}
	r.source.free(r.offset())
	record, err := r.csv.Read()
	var syntax *csv.ParseError
	switch {
	case err == nil:
		end, _ := r.csv.FieldPos(len(record) - 1)
		r.last = r.before + end + strings.Count(record[len(record)-1], "\n")
	case errors.As(err, &syntax):
		r.last = r.before + syntax.Line
		return nil, r.refuse(r.before+syntax.StartLine, quoteHint(syntax))
	case errors.Is(err, errLineTooLong):
		r.stopped = jobs.Permanent(fmt.Errorf("%s %w", r.following(), err))
	default:
		r.stopped = err
	}
	return record, r.stopped
}

func quoteHint(syntax error) string {
	if errors.Is(syntax, csv.ErrBareQuote) {
		return `has a quote (") inside of a field: put the field in quotes and double the quote`
	}
	return `has a quote (") that is neither closed nor doubled`
}

// following names the line after the one that was read last.
func (r *taskReader) following() string {
	if r.columns == nil {
		return "the first line"
	}
	return fmt.Sprintf("the line after line %d", r.last)
}

// refuse returns the error of the record that was read last, which began at that line.
func (r *taskReader) refuse(line int, why string) *refusedLine {
	if r.last > line {
		why += fmt.Sprintf("; lines %d to %d were read as one", line, r.last)
	}
	return &refusedLine{line: line, last: r.last, why: why}
}

// next reads one line and returns its task; empty lines are skipped. The error is a *refusedLine, io.EOF, or
// an error of the file.
func (r *taskReader) next() (tasks.Input, error) {
	for {
		record, err := r.read()
		if err != nil {
			return tasks.Input{}, err
		}
		if record = withoutTail(record, len(r.columns)); len(withoutTail(record, 0)) > 0 {
			return r.fromRecord(record)
		}
	}
}

func (r *taskReader) fromRecord(record []string) (tasks.Input, error) {
	line, _ := r.csv.FieldPos(0)
	line += r.before
	switch {
	case len(record) < len(r.columns):
		return tasks.Input{}, r.refuse(line, fmt.Sprintf("has %d of the %d fields that the first line names", len(record), len(r.columns)))
	case len(record) > len(r.columns):
		return tasks.Input{}, r.refuse(line, fmt.Sprintf("has %d fields, but the first line names %d: a field that contains %q "+
			"must be in quotes", len(record), len(r.columns), r.csv.Comma))
	}
	task, err := r.task(record)
	if err != nil {
		return task, r.refuse(line, err.Error())
	}
	return task, nil
}

func (r *taskReader) task(record []string) (tasks.Input, error) {
	var in tasks.Input
	var errs jobs.FieldErrors
	for i, column := range r.columns {
		value := strings.Clone(strings.TrimSpace(record[i])) // the reader reuses the record
		if !utf8.ValidString(value) {
			errs = append(errs, jobs.FieldError{Field: column, Message: "is not UTF-8"})
			continue
		}
		var err error
		switch column {
		case "description":
			in.Description = unguarded(value)
		case "priority":
			in.Priority = tasks.Priority(strings.ToLower(value))
		case "start_at":
			in.StartAt, err = tasks.ParseTime(value)
		case "due_at":
			in.DueAt, err = tasks.ParseTime(value)
		case "done":
			in.Done, err = parseDone(value)
		}
		if err != nil {
			errs = append(errs, jobs.FieldError{Field: column, Message: err.Error()})
		}
	}
	var more jobs.FieldErrors
	errors.As(in.Prepare(), &more)
	for _, e := range more {
		if !slices.ContainsFunc(errs, func(have jobs.FieldError) bool { return have.Field == e.Field }) {
			errs = append(errs, e)
		}
	}
	return in, errs.OrNil()
}

// guarded prefixes a text with an apostrophe if a spreadsheet would evaluate it, or if it already
// starts with such an apostrophe, so that unguarded restores every text.
func guarded(s string) string {
	if formula(s) {
		return "'" + s
	}
	return s
}

func unguarded(s string) string {
	if strings.HasPrefix(s, "'") && formula(s) {
		return s[1:]
	}
	return s
}

// formula reports whether a spreadsheet would evaluate s, ignoring leading apostrophes.
func formula(s string) bool {
	s = strings.TrimLeft(s, "'")
	first, _ := utf8.DecodeRuneInString(s)
	return s != "" && strings.ContainsRune("=+-@\t\r＝＋－＠", first) // also the full-width forms
}

func parseDone(s string) (bool, error) {
	switch strings.ToLower(s) {
	case "", "false", "no", "0", "f", "n", "open":
		return false, nil
	case "true", "yes", "1", "t", "y", "x", "done":
		return true, nil
	}
	return false, fmt.Errorf("%.40q is neither yes nor no", s)
}

// boundedReader fails when one line is longer than recordMax.
type boundedReader struct {
	from  io.Reader
	given int64
	until int64
}

func (b *boundedReader) free(offset int64) { b.until = offset + recordMax }

func (b *boundedReader) Read(p []byte) (int, error) {
	if b.until > 0 && b.given > b.until {
		return 0, errLineTooLong
	}
	n, err := b.from.Read(p)
	b.given += int64(n)
	return n, err
}
