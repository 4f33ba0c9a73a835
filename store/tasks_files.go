package store

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/tasks"
)

// chunkSize is how much of a file is in memory at once, per reader and writer.
const chunkSize = 256 << 10

const nameMax = 200 // bytes of a file's name

// CreateFile creates a file that is written piece by piece; the writer is for one goroutine. The
// file is complete after Close; a file that is never closed is swept with age. A write beyond
// tasks.FileMax fails with tasks.ErrTooLarge.
func (s *Store) CreateFile(ctx context.Context, name, mediaType string) (uuid.UUID, io.WriteCloser, error) {
	id := uuid.Must(uuid.NewV7())
	_, err := s.pool.Exec(ctx, `INSERT INTO warren.files (id, name, media_type) VALUES ($1, $2, $3)`, id, shortText(name, nameMax),
		mediaType)
	if err != nil {
		return id, nil, fmt.Errorf("make a file: %w", err)
	}
	return id, &fileWriter{ctx: ctx, store: s, id: id}, nil
}

// KeepFile writes a whole file from a stream, a piece at a time. A file that is empty, or whose
// writing fails, is removed again. Errors: tasks.ErrTooLarge.
func (s *Store) KeepFile(ctx context.Context, name, mediaType string, from io.Reader) (id uuid.UUID, size int64, err error) {
	id, file, err := s.CreateFile(ctx, name, mediaType)
	if err != nil {
		return id, 0, err
	}
	if size, err = io.Copy(file, from); err == nil {
		err = file.Close()
	}
	if err != nil || size == 0 {
		_ = s.deleteFile(context.WithoutCancel(ctx), id)
	}
	return id, size, err
}

type fileWriter struct {
	ctx   context.Context
	store *Store
	id    uuid.UUID
	size  int64
	buf   []byte
}

func (w *fileWriter) Write(p []byte) (int, error) {
	if w.size+int64(len(w.buf)+len(p)) > tasks.FileMax {
		return 0, tasks.ErrTooLarge
	}
	w.buf = append(w.buf, p...)
	for len(w.buf) >= chunkSize {
		if err := w.flush(chunkSize); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

func (w *fileWriter) flush(n int) error {
	_, err := w.store.pool.Exec(w.ctx, `INSERT INTO warren.file_chunks (file_id, start, data) VALUES ($1, $2, $3)`, w.id, w.size, w.buf[:n])
	if err != nil {
		return fmt.Errorf("write file %s at %d: %w", w.id, w.size, err)
	}
	w.size += int64(n)
	w.buf = append(w.buf[:0], w.buf[n:]...)
	return nil
}

func (w *fileWriter) Close() error {
	if len(w.buf) > 0 {
		if err := w.flush(len(w.buf)); err != nil {
			return err
		}
	}
	if _, err := w.store.pool.Exec(w.ctx, `UPDATE warren.files SET size = $2, complete = true WHERE id = $1`, w.id, w.size); err != nil {
		return fmt.Errorf("complete file %s: %w", w.id, err)
	}
	return nil
}

// File reads a file's metadata. It returns jobs.ErrNotFound if there is none.
func (s *Store) File(ctx context.Context, id uuid.UUID) (tasks.File, error) {
	rows, err := s.pool.Query(ctx, `SELECT id, name, media_type, size, complete, created_at FROM warren.files WHERE id = $1`, id)
	if err != nil {
		return tasks.File{}, fmt.Errorf("read file %s: %w", id, err)
	}
	f, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[tasks.File])
	if errors.Is(err, pgx.ErrNoRows) {
		return f, fmt.Errorf("file %s: %w", id, jobs.ErrNotFound)
	}
	if err != nil {
		return f, fmt.Errorf("read file %s: %w", id, err)
	}
	return f, nil
}

func (s *Store) deleteFile(ctx context.Context, id uuid.UUID) error {
	if _, err := s.pool.Exec(ctx, `DELETE FROM warren.files WHERE id = $1`, id); err != nil {
		return fmt.Errorf("delete file %s: %w", id, err)
	}
	return nil
}

// OpenFile returns a reader of a file from its beginning, a piece at a time. If the file is swept
// meanwhile, the reader returns jobs.ErrNotFound, not the end of the file.
func (s *Store) OpenFile(ctx context.Context, id uuid.UUID) io.Reader {
	return &fileReader{ctx: ctx, store: s, id: id}
}

type fileReader struct {
	ctx   context.Context
	store *Store
	id    uuid.UUID
	next  int64
	chunk []byte
}

func (r *fileReader) Read(p []byte) (int, error) {
	if len(r.chunk) == 0 {
		err := r.store.pool.QueryRow(r.ctx, `SELECT data FROM warren.file_chunks WHERE file_id = $1
			AND start = $2`, r.id, r.next).Scan(&r.chunk)
		if errors.Is(err, pgx.ErrNoRows) {
			return 0, r.end()
		}
		if err != nil {
			return 0, fmt.Errorf("read file %s at %d: %w", r.id, r.next, err)
		}
		r.next += int64(len(r.chunk))
	}
	n := copy(p, r.chunk)
	r.chunk = r.chunk[n:]
	return n, nil
}

// end distinguishes the end of a file from a file that no longer exists.
func (r *fileReader) end() error {
	if _, err := r.store.File(r.ctx, r.id); err != nil {
		return err
	}
	return io.EOF
}
