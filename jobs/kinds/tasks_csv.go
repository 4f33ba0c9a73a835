package kinds

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/tasks"
)

// recordMax limits the bytes of a line: a quote that is never closed must not read the whole file
// into memory.
const recordMax = 1 << 20

// taskReader reads tasks from a CSV file whose first line names the columns. The delimiter is the
// comma, semicolon or tab, whichever is most frequent in the first line.
type taskReader struct {
	csv     *csv.Reader
	source  *boundedReader
	columns []string
}

// refusedLine reports a line that is not a valid task.
type refusedLine struct {
	line int
	why  string
}

func (e *refusedLine) Error() string { return fmt.Sprintf("line %d: %s", e.line, e.why) }

func newTaskReader(file io.Reader) (*taskReader, error) {
	buf := bufio.NewReaderSize(file, 64<<10)
	if mark, _ := buf.Peek(3); string(mark) == "\uFEFF" {
		_, _ = buf.Discard(3)
	}
	head, _ := buf.Peek(4 << 10)
	r := &taskReader{source: &boundedReader{from: buf}}
	r.csv = csv.NewReader(r.source)
	r.csv.Comma, r.csv.FieldsPerRecord, r.csv.ReuseRecord = delimiter(head), -1, true
	r.csv.TrimLeadingSpace = r.csv.Comma != '\t' // a tab would be one: empty fields would be lost
	r.source.free(0)                             // the first line has the same bound
	first, err := r.csv.Read()
	if errors.Is(err, io.EOF) {
		return nil, jobs.Permanent(errors.New("the file is empty: its first line must name the columns, such as " +
			strings.Join(taskColumns, ",")))
	}
	var syntax *csv.ParseError
	if errors.As(err, &syntax) {
		return nil, jobs.Permanent(fmt.Errorf("the first line is not CSV: %w", err))
	}
	if err != nil {
		return nil, err
	}
	for _, name := range first {
		r.columns = append(r.columns, strings.ToLower(strings.TrimSpace(name)))
	}
	if err := r.checkColumns(); err != nil {
		return nil, jobs.Permanent(err)
	}
	return r, nil
}

func (r *taskReader) checkColumns() error {
	for i, name := range r.columns {
		if !slices.Contains(taskColumns, name) {
			return fmt.Errorf("the first line must name the columns, of %s; %.40q is none of them", strings.Join(taskColumns, ", "), name)
		}
		if slices.Contains(r.columns[:i], name) {
			return fmt.Errorf("the first line names the column %s twice", name)
		}
	}
	if !slices.Contains(r.columns, "description") {
		return errors.New("the first line names no column description")
	}
	return nil
}

func delimiter(head []byte) rune {
	line, _, _ := bytes.Cut(head, []byte("\n"))
	best, most := ',', 0
	for _, d := range ",;\t" {
		if n := bytes.Count(line, []byte(string(d))); n > most {
			best, most = d, n
		}
	}
	return best
}

// offset returns the offset at which the last line ended, which is the same each time the file is
// read.
func (r *taskReader) offset() int64 { return r.csv.InputOffset() }

// next reads one line and returns its task. The error is a *refusedLine, io.EOF, or an error of
// the file.
func (r *taskReader) next() (tasks.Input, error) {
	r.source.free(r.offset())
	record, err := r.csv.Read()
	var syntax *csv.ParseError
	if errors.As(err, &syntax) {
		return tasks.Input{}, &refusedLine{syntax.StartLine, "is not CSV: " + syntax.Err.Error()}
	}
	if err != nil {
		return tasks.Input{}, err
	}
	line, _ := r.csv.FieldPos(0)
	if len(record) != len(r.columns) {
		return tasks.Input{}, &refusedLine{line, fmt.Sprintf("has %d fields; the first line names %d", len(record), len(r.columns))}
	}
	task, err := r.task(record)
	if err != nil {
		return task, &refusedLine{line, err.Error()}
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
	if len(errs) > 0 {
		return in, errs
	}
	return in, in.Prepare()
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
	case "", "false", "no", "0", "open":
		return false, nil
	case "true", "yes", "1", "x", "done":
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
		return 0, jobs.Permanent(fmt.Errorf("a line is longer than %d KiB: is a quote never closed?", recordMax>>10))
	}
	n, err := b.from.Read(p)
	b.given += int64(n)
	return n, err
}
