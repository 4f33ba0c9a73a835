package handlers

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/jobs/tasks"
	"github.com/warrenjobs/warren/views"
	"github.com/warrenjobs/warren/views/ui"
)

func (a *App) taskImport(c echo.Context) error { return a.showImport(c, http.StatusOK, "") }

func (a *App) showImport(c echo.Context, status int, why string) error {
	frame := a.frame(c, "tasks", "Import tasks")
	frame.Lead = "Upload a CSV file. The import runs as a job, whose progress is shown here."
	return render(c, status, views.TaskImport(frame, why))
}

const formMax = 1 << 20 // bytes of an upload's form beside the file

// uploadTasks streams the file of the form to the database and submits its import.
func (a *App) uploadTasks(c echo.Context) error {
	r := c.Request()
	r.Body = http.MaxBytesReader(c.Response(), r.Body, tasks.FileMax+formMax) // also bounds the parts before the file
	form, err := r.MultipartReader()
	if err != nil {
		return echo.NewHTTPError(http.StatusBadRequest, "The form must send a file.")
	}
	part, err := form.NextPart()
	for err == nil && part.FormName() != "file" {
		part, err = form.NextPart()
	}
	if err != nil || part.FileName() == "" {
		return a.showImport(c, http.StatusUnprocessableEntity, "No file was chosen.")
	}
	job, err := a.importTasks(c, part.FileName(), part)
	if p := problemOf(err); err != nil && (p.Status == http.StatusRequestEntityTooLarge || p.Status == http.StatusUnprocessableEntity) {
		return a.showImport(c, p.Status, p.Detail)
	}
	if err != nil {
		return err
	}
	return seeOther(c, views.ImportURL(job.String()))
}

// importResult shows what the import of a job has done so far.
func (a *App) importResult(c echo.Context) error {
	id, err := jobID(c)
	if err != nil {
		return err
	}
	ctx, cancel := query(c)
	defer cancel()
	detail, err := a.Store.ShownJob(ctx, id)
	if err != nil {
		return err
	}
	var args struct{ File uuid.UUID }
	if detail.Kind != "tasks.import" || json.Unmarshal(detail.Args, &args) != nil {
		return fmt.Errorf("the import of job %s: %w", id, jobs.ErrNotFound)
	}
	file, err := a.Store.File(ctx, args.File)
	if errors.Is(err, jobs.ErrNotFound) { // what is left of the import is its job
		return seeOther(c, "/jobs/"+id.String())
	}
	if err != nil {
		return err
	}
	progress, err := a.Store.Import(ctx, args.File)
	if err != nil {
		return err
	}
	var lines []tasks.LineError
	if lacks(ctx, ViewArgs) == "" {
		if lines, err = a.Store.ImportErrors(ctx, args.File, views.ImportLinesShown); err != nil {
			return err
		}
	}
	hideParts(ctx, &detail)
	m := views.NewImportModel(views.NewJobModel(detail, nil, a.VHost, a.QueuePrefix), file, progress, lines)
	frame := a.frame(c, "tasks", "Import "+file.Name, jobTopic+id.String(), views.TopicUnnamedJobs, engine.TopicWorkers)
	frame.Badge = views.JobState(m.JobModel)
	return show(c, views.Import(frame, m), views.ImportUpdate(m))
}

// uploadTime is how long an upload may take; other requests have the server's minute.
const uploadTime = 30 * time.Minute

// importTasks stores the file and enqueues its import.
func (a *App) importTasks(c echo.Context, name string, body io.Reader) (job uuid.UUID, err error) {
	rc := http.NewResponseController(c.Response())
	_ = rc.SetReadDeadline(time.Now().Add(uploadTime))
	_ = rc.SetWriteDeadline(time.Now().Add(uploadTime + time.Minute))
	ctx := c.Request().Context()
	file, size, err := a.Store.KeepFile(ctx, csvName(name), "text/csv", body)
	switch {
	case errors.Is(err, tasks.ErrTooLarge):
		return job, echo.NewHTTPError(http.StatusRequestEntityTooLarge, "The file is larger than 64 MiB: split it.")
	case err != nil:
		return job, err
	case size == 0:
		return job, badField("file", "is empty")
	}
	return a.submit(ctx, c, "tasks.import", map[string]any{"file": file})
}

// csvName is the name under which an upload is kept: without its folders, and always with the
// ending of what it is taken for.
func csvName(name string) string {
	name = path.Base(strings.ReplaceAll(name, `\`, "/"))
	if strings.EqualFold(path.Ext(name), ".csv") {
		return name
	}
	return strings.TrimSuffix(name, path.Ext(name)) + ".csv"
}

// submit enqueues a job of a built-in kind for a page or the API.
func (a *App) submit(ctx context.Context, c echo.Context, kind string, args map[string]any) (uuid.UUID, error) {
	raw, err := json.Marshal(args)
	if err != nil {
		return uuid.Nil, err
	}
	job := jobs.NewJob{Kind: kind, Args: raw, Origin: "web"}
	if isAPI(c) {
		job.Origin = "api"
	}
	id, _, err := a.enqueue(ctx, job, nil)
	return id, err
}

// exportTasks submits an export of the list that was shown.
func (a *App) exportTasks(c echo.Context) error {
	f := tasks.Filter{View: tasks.View(c.FormValue("view")), Priority: tasks.Priority(c.FormValue("priority")), Text: c.FormValue("q")}
	if err := f.Check(); err != nil {
		return err
	}
	ctx, cancel := query(c)
	defer cancel()
	args := map[string]any{"view": f.View}
	if f.Priority != "" {
		args["priority"] = f.Priority
	}
	if f.Text != "" {
		args["text"] = f.Text
	}
	job, err := a.submit(ctx, c, "tasks.export", args)
	if err != nil {
		return err
	}
	return redirect(c, "/jobs/"+job.String(), ui.FlashProps{Kind: "done",
		Text: "The export runs as this job. Its file can be downloaded here when it has completed."})
}

// file sends a file that a job wrote as a download.
func (a *App) file(c echo.Context) error {
	id, err := fileID(c)
	if err != nil {
		return err
	}
	ctx := c.Request().Context()
	f, err := a.Store.File(ctx, id)
	if err != nil {
		return err
	}
	if !f.Complete {
		return echo.NewHTTPError(http.StatusConflict, "This file is still being written.")
	}
	return sendFile(c, f.Name, f.MediaType, f.Size, a.Store.OpenFile(ctx, id))
}

// sendFile sends a download of that size, a piece at a time. A HEAD request gets its headers only.
func sendFile(c echo.Context, name, mediaType string, size int64, from io.Reader) error {
	c.Response().Header().Set(echo.HeaderContentLength, strconv.FormatInt(size, 10))
	_ = http.NewResponseController(c.Response()).SetWriteDeadline(time.Now().Add(uploadTime))
	download(c, name, mediaType)
	if c.Request().Method == http.MethodHead {
		return nil
	}
	_, err := io.Copy(c.Response(), from)
	return err
}

func download(c echo.Context, name, mediaType string) {
	h := c.Response().Header()
	h.Set(echo.HeaderContentType, mediaType)
	h.Set(echo.HeaderContentDisposition, mime.FormatMediaType("attachment", map[string]string{"filename": name}))
	h.Set("Cache-Control", "no-store")
	c.Response().WriteHeader(http.StatusOK)
}

// refusedMax is the maximum number of refused lines in one download.
const refusedMax = 1_000_000

// refusedLines sends the lines that an import refused as a download.
func (a *App) refusedLines(c echo.Context) error {
	id, err := fileID(c)
	if err != nil {
		return err
	}
	ctx, cancel := query(c)
	defer cancel()
	file, err := a.Store.File(ctx, id)
	if err != nil {
		return err
	}
	lines, err := a.Store.ImportErrors(ctx, id, refusedMax)
	if err != nil {
		return err
	}
	download(c, strings.TrimSuffix(file.Name, ".csv")+"-refused.csv", "text/csv")
	_, _ = io.WriteString(c.Response(), "\uFEFF") // Excel reads a CSV file as UTF-8 only with a byte order mark
	w := csv.NewWriter(c.Response())
	_ = w.Write([]string{"line", "error"})
	for _, l := range lines {
		_ = w.Write([]string{strconv.Itoa(l.Line), l.Error})
	}
	w.Flush()
	if err := w.Error(); err != nil {
		return fmt.Errorf("write the refused lines: %w", err)
	}
	return nil
}
