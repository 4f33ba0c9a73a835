package jobs

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"strings"
	"sync"
	"time"
)

// LogLine is one line that a handler logged.
type LogLine struct {
	Time    time.Time       `json:"time"`
	Level   slog.Level      `json:"level"`
	Message string          `json:"msg"`
	Attrs   json.RawMessage `json:"attrs,omitempty"` // a JSON object
}

// Limits of the stored log of one run.
const (
	logLinesMax = 200
	logBytesMax = 64 << 10
	logLineMax  = 4 << 10 // bytes of one line; a longer line is reduced to its message, truncated
)

// runLog keeps the newest log lines of a run. It is safe for concurrent use.
type runLog struct {
	once   sync.Once
	logger *slog.Logger

	mu      sync.Mutex
	lines   [][]byte
	bytes   int
	total   int
	changed bool
}

// Log returns the logger of this run. Lines of level info and above appear with the attempt, on
// the job's page and in the API, within about a second; they do not go to the process's log.
// Logging does not block and does not access the database: the newest 200 lines, at most 64 KiB,
// are written at intervals and when the run ends.
func (r *Run) Log() *slog.Logger {
	log := &r.record.log
	log.once.Do(func() { log.logger = slog.New(slog.NewJSONHandler(log, nil)).WithGroup("attrs") })
	return log.logger
}

// Write adds one line. The JSON handler calls it exactly once per line.
func (l *runLog) Write(line []byte) (int, error) {
	n := len(line)
	line = bytes.Clone(bytes.TrimSpace(line))
	if len(line) > logLineMax || TooDeep(line) {
		line = shortLine(line)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines, l.bytes, l.total, l.changed = append(l.lines, line), l.bytes+len(line), l.total+1, true
	for len(l.lines) > logLinesMax || l.bytes > logBytesMax {
		l.bytes -= len(l.lines[0])
		l.lines[0] = nil
		l.lines = l.lines[1:]
	}
	return n, nil
}

// shortLine reduces a line that is too long to the beginning of its message.
func shortLine(line []byte) []byte {
	var l LogLine
	_ = json.Unmarshal(line, &l)
	l.Attrs = nil
	if len(l.Message) > logLineMax/8 { // JSON may need six bytes for one byte
		l.Message = strings.ToValidUTF8(l.Message[:logLineMax/8], "") + "…"
	}
	short, _ := json.Marshal(l)
	return short
}

// Log returns the kept lines as a JSON array of LogLine, oldest first, and the number of all
// lines logged, including those that were dropped.
func (r *Record) Log() (lines []byte, total int) {
	r.log.mu.Lock()
	defer r.log.mu.Unlock()
	return append(append([]byte{'['}, bytes.Join(r.log.lines, []byte{','})...), ']'), r.log.total
}

// LogLines returns the kept lines, oldest first.
func (r *Record) LogLines() []LogLine {
	raw, _ := r.Log()
	var lines []LogLine
	_ = json.Unmarshal(raw, &lines) // they were written by encoding/json
	return lines
}

// TakeLog reports whether lines were logged since the last call.
func (r *Record) TakeLog() bool {
	r.log.mu.Lock()
	defer r.log.mu.Unlock()
	changed := r.log.changed
	r.log.changed = false
	return changed
}

// UntakeLog undoes TakeLog, after the lines could not be written.
func (r *Record) UntakeLog() {
	r.log.mu.Lock()
	defer r.log.mu.Unlock()
	r.log.changed = true
}
