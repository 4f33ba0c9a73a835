package tasks

import (
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
)

// File is a file that was uploaded or written by a job. It is stored in the database in pieces.
type File struct {
	ID        uuid.UUID `json:"id"`
	Name      string    `json:"name"`
	MediaType string    `json:"media_type"`
	Size      int64     `json:"size"`     // bytes
	Complete  bool      `json:"complete"` // all pieces are stored
	CreatedAt time.Time `json:"created_at"`
}

// FileMax is the largest size of a file, in bytes.
const FileMax = 64 << 20

// ErrTooLarge reports that a file is larger than FileMax.
var ErrTooLarge = errors.New("the file is larger than 64 MiB")

// Import is the progress of the import of a file.
type Import struct {
	Done    int64 // bytes of the file that are imported
	Created int   // tasks
	Refused int   // lines
}

// String says what was imported: "2 tasks added, 1 line refused".
func (i Import) String() string {
	return number(i.Created, "task") + " added, " + number(i.Refused, "line") + " refused"
}

func number(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// ImportBatch is the next part of an import: the bytes from Before to Done.
type ImportBatch struct {
	File    uuid.UUID
	Before  int64 // must equal Import.Done, or the batch is not applied
	Done    int64
	Tasks   []Input
	Refused []LineError
}

// LineError is a refused line of a file and the reason.
type LineError struct {
	Line  int    `json:"line"`
	Error string `json:"error"`
}

// ErrMoved reports that another run has advanced the import, so that this batch is not applied.
var ErrMoved = errors.New("another run is further with this import")
