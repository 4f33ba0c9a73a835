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

// Bounds of what is kept of the log of one run.
const (
	logLinesMax = 200
	logBytesMax = 64 << 10
	logLineMax  = 4 << 10 // bytes of one line; of a longer one the message is kept, cut off
)

// runLog keeps the newest lines of a run. Safe for concurrent use.
type runLog struct {
	once   sync.Once
	logger *slog.Logger

	mu      sync.Mutex
	lines   [][]byte
	bytes   int
	total   int
	changed bool
}

// Log returns the logger of this run. Its lines of level info and above are
// shown with the attempt, on the job's page and in the API, within about a
// second; they do not go to the log of the process. Logging does not block and
// costs the database nothing by itself: what is kept, the newest 200 lines or
// 64 KiB of a run, is written at intervals and when the run ends.
func (r *Run) Log() *slog.Logger {
	log := &r.record.log
	log.once.Do(func() { log.logger = slog.New(slog.NewJSONHandler(log, nil)).WithGroup("attrs") })
	return log.logger
}

// Write takes one line of the JSON handler, which calls it once for each.
func (l *runLog) Write(line []byte) (int, error) {
	n := len(line)
	line = bytes.Clone(bytes.TrimSpace(line))
	if len(line) > logLineMax || tooDeep(line) {
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

// shortLine keeps the beginning of the message of a line that is too long.
func shortLine(line []byte) []byte {
	var l LogLine
	_ = json.Unmarshal(line, &l)
	l.Attrs = nil
	if len(l.Message) > logLineMax/8 { // JSON may need six bytes for one
		l.Message = strings.ToValidUTF8(l.Message[:logLineMax/8], "") + "…"
	}
	short, _ := json.Marshal(l)
	return short
}

// Log is what is kept of the log now: a JSON array of LogLine, oldest first, and how
// many lines were logged, also those that are not kept.
func (r *Record) Log() (lines []byte, total int) {
	r.log.mu.Lock()
	defer r.log.mu.Unlock()
	return append(append([]byte{'['}, bytes.Join(r.log.lines, []byte{','})...), ']'), r.log.total
}

// LogLines are the lines of Log.
func (r *Record) LogLines() []LogLine {
	raw, _ := r.Log()
	var lines []LogLine
	_ = json.Unmarshal(raw, &lines) // they were written by encoding/json
	return lines
}

// TakeLog says whether lines were logged since the last call.
func (r *Record) TakeLog() bool {
	r.log.mu.Lock()
	defer r.log.mu.Unlock()
	changed := r.log.changed
	r.log.changed = false
	return changed
}

// UntakeLog undoes TakeLog: what Log gave was not written.
func (r *Record) UntakeLog() {
	r.log.mu.Lock()
	defer r.log.mu.Unlock()
	r.log.changed = true
}
