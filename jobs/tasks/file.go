package tasks

import (
	"errors"
	"time"

	"github.com/google/uuid"
)

// File is an upload or what a job wrote, kept in the database in pieces.
type File struct {
	ID        uuid.UUID `json:"id"`
	Name      string    `json:"name"`
	MediaType string    `json:"media_type"`
	Size      int64     `json:"size"`     // bytes
	Complete  bool      `json:"complete"` // all of it is there
	CreatedAt time.Time `json:"created_at"`
}

// FileMax is how large a file may be, in bytes.
const FileMax = 64 << 20

// ErrTooLarge says that the file is larger than FileMax.
var ErrTooLarge = errors.New("the file is larger than 64 MiB")

// Import says how far the import of a file is.
type Import struct {
	Done    int64 // bytes of the file
	Created int   // tasks
	Refused int   // lines
}

// ImportBatch is the next part of an import: from Before to Done.
type ImportBatch struct {
	File    uuid.UUID
	Before  int64 // Import.Done as it must be for the batch to count
	Done    int64
	Tasks   []Input
	Refused []LineError
}

// LineError is a line of a file that was refused.
type LineError struct {
	Line  int    `json:"line"`
	Error string `json:"error"`
}

// ErrMoved says that another run has taken the import further; this one's batch does not count.
var ErrMoved = errors.New("another run is further with this import")
