package jobs

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
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
	logLineMax  = 4 << 10   // bytes of one line; of a longer one the message is kept, cut off
	logWriteMax = 256 << 10 // bytes of all logs that one throttled write carries
)

// LogUpdate is the kept log of one run, with all its lines.
type LogUpdate struct {
	JobID uuid.UUID
	Lease int
	Total int    // lines logged, also those that are not kept
	Lines []byte // JSON array of LogLine, oldest first
}

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
	r.log.once.Do(func() { r.log.logger = slog.New(slog.NewJSONHandler(&r.log, nil)).WithGroup("attrs") })
	return r.log.logger
}

// LogLines are the lines that are kept now, oldest first. Tests of a handler look at them.
func (r *Run) LogLines() []LogLine {
	u := r.snapshotLog()
	var lines []LogLine
	_ = json.Unmarshal(u.Lines, &lines) // they were written by encoding/json
	return lines
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

// snapshotLog is the log as it is now.
func (r *Run) snapshotLog() LogUpdate {
	r.log.mu.Lock()
	defer r.log.mu.Unlock()
	lines := append(append([]byte{'['}, bytes.Join(r.log.lines, []byte{','})...), ']')
	return LogUpdate{JobID: r.ID, Lease: r.Lease, Total: r.log.total, Lines: lines}
}

// takeLog returns the log if it changed since the last call.
func (r *Run) takeLog() (LogUpdate, bool) {
	r.log.mu.Lock()
	changed := r.log.changed
	r.log.changed = false
	r.log.mu.Unlock()
	if !changed {
		return LogUpdate{}, false
	}
	return r.snapshotLog(), true
}

// untakeLog says that what takeLog gave has not been written.
func (r *Run) untakeLog() {
	r.log.mu.Lock()
	defer r.log.mu.Unlock()
	r.log.changed = true
}

// saveLogs writes the changed logs of runs in statements of at most logWriteMax
// bytes or one log, most of them, and names the jobs.
func (w *Worker) saveLogs(ctx context.Context, runs []*Run, most int) (ids []string) {
	for range most {
		var taken []*Run
		var updates []LogUpdate
		for size := 0; len(runs) > 0 && size < logWriteMax; runs = runs[1:] {
			if u, ok := runs[0].takeLog(); ok {
				taken, updates, size = append(taken, runs[0]), append(updates, u), size+len(u.Lines)
			}
		}
		if len(updates) == 0 {
			break
		}
		if err := w.Store.SaveLogs(ctx, updates); err != nil {
			w.Log.Warn("worker: save log lines", "error", err)
			for _, run := range taken {
				run.untakeLog()
			}
			break
		}
		for _, u := range updates {
			ids = append(ids, u.JobID.String())
		}
	}
	return ids
}
