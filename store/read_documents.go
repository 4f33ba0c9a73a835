package store

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/warrenjobs/warren/jobs"
)

// Document is a part of a job that may be large.
type Document string

// The documents of a job.
const (
	DocumentArgs    Document = "args"
	DocumentOutput  Document = "output"
	DocumentMessage Document = "message" // the body of the foreign message that the job was made of
)

// documents has the size and the bytes of each document in SQL, and where it is.
var documents = map[Document]struct{ size, bytes, from string }{
	DocumentArgs:    {"octet_length(args::text)", "convert_to(args::text, 'UTF8')", "jobs WHERE id = $1"},
	DocumentOutput:  {"octet_length(output::text)", "convert_to(output::text, 'UTF8')", "jobs WHERE id = $1"},
	DocumentMessage: {"octet_length(body)", "body", "raw_messages WHERE job_id = $1"},
}

// pieceSize is how many bytes of a document are read at once. It is large, as each piece of JSON
// costs the database the whole document; one statement for all would keep a connection for as long
// as a slow reader likes.
const pieceSize = 16 << 20

// DocumentSize returns the size of a document in bytes. It returns jobs.ErrNotFound if the job has
// none.
func (s *Store) DocumentSize(ctx context.Context, id uuid.UUID, part Document) (int64, error) {
	d := documents[part]
	var size *int64
	err := s.pool.QueryRow(ctx, `SELECT `+d.size+` FROM warren.`+d.from, id).Scan(&size)
	if errors.Is(err, pgx.ErrNoRows) || err == nil && size == nil {
		return 0, fmt.Errorf("%s of job %s: %w", part, id, jobs.ErrNotFound)
	}
	if err != nil {
		return 0, fmt.Errorf("read the size of the %s of job %s: %w", part, id, err)
	}
	return *size, nil
}

// OpenDocument returns a reader of a document from its beginning, a piece at a time.
func (s *Store) OpenDocument(ctx context.Context, id uuid.UUID, part Document) io.Reader {
	return &documentReader{ctx: ctx, store: s, id: id, part: part, most: pieceSize, next: 1}
}

type documentReader struct {
	ctx   context.Context
	store *Store
	id    uuid.UUID
	part  Document
	most  int // bytes of a piece
	next  int // where the next piece begins
	last  bool
	piece []byte
}

func (r *documentReader) Read(p []byte) (int, error) {
	if len(r.piece) == 0 && !r.last {
		d := documents[r.part]
		err := r.store.pool.QueryRow(r.ctx, `SELECT substr(`+d.bytes+`, $2, $3) FROM warren.`+d.from, r.id, r.next, r.most).Scan(&r.piece)
		if err != nil {
			return 0, fmt.Errorf("read the %s of job %s from %d: %w", r.part, r.id, r.next, err)
		}
		r.next += len(r.piece)
		r.last = len(r.piece) < r.most
	}
	if len(r.piece) == 0 {
		return 0, io.EOF
	}
	n := copy(p, r.piece)
	r.piece = r.piece[n:]
	return n, nil
}
