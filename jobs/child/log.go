package child

import (
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
)

const (
	maxLog  = 8 << 20 // a longer log is renamed to NAME.1 at the next start
	maxTail = 16 << 10
)

// logFile is a child's log and the offset at which this run begins.
type logFile struct {
	file *os.File
	path string
	from int64
}

func openLog(path string) (logFile, error) {
	if info, err := os.Lstat(path); err == nil && info.Size() > maxLog {
		_ = os.Rename(path, path+".1") // a failed rename must not prevent the start
	}
	file, err := OpenOwn(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return logFile{}, fmt.Errorf("open the log of a server: %w", err)
	}
	from, err := file.Seek(0, io.SeekEnd)
	if err != nil {
		_ = file.Close()
		return logFile{}, fmt.Errorf("open the log of a server: %w", err)
	}
	return logFile{file: file, path: path, from: from}, nil
}

func (l logFile) tail(n int) []string {
	file, err := OpenOwn(l.path, os.O_RDONLY, 0)
	if err != nil {
		return nil
	}
	defer file.Close()
	if info, err := file.Stat(); err == nil {
		l.from = max(l.from, info.Size()-maxTail)
	}
	text, err := io.ReadAll(io.NewSectionReader(file, l.from, maxTail))
	if err != nil {
		return nil
	}
	plain := colour.ReplaceAllString(string(text), "")
	lines := strings.FieldsFunc(plain, func(r rune) bool { return r == '\n' })
	return lines[max(0, len(lines)-n):]
}

var (
	complaint = regexp.MustCompile(`(?i)fatal|error|denied|refuse`)
	colour    = regexp.MustCompile("\x1b\\[[0-9;]*m")
)

// reason returns the last line that looks like an error, if any, and the path of the log.
func (l logFile) reason() string {
	for _, line := range slices.Backward(l.tail(30)) {
		if complaint.MatchString(line) {
			return strings.TrimSpace(line) + " (see " + l.path + ")"
		}
	}
	return "see " + l.path
}
