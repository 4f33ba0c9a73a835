package views

import (
	"fmt"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/tasks"
	"github.com/warrenjobs/warren/views/ui"
)

// ImportModel is the page of one import of tasks: what its job has done.
type ImportModel struct {
	JobModel
	tasks.Import
	Here    string            // URL of this page
	Refused string            // link to a file of the refused lines; "" if there are none, or the reader may not see them
	Lines   []tasks.LineError // the first of them
}

// ImportLinesShown is the number of refused lines on the page of an import.
const ImportLinesShown = 20

// NewImportModel shapes an import.
func NewImportModel(job JobModel, file tasks.File, progress tasks.Import, lines []tasks.LineError) ImportModel {
	m := ImportModel{JobModel: job, Import: progress, Here: ImportURL(job.ID.String()), Lines: lines}
	if len(lines) > 0 {
		m.Refused = "/tasks/imports/" + file.ID.String() + "/refused.csv"
	}
	return m
}

// ImportURL returns the address of the page of the import that a job carries out.
func ImportURL(job string) string { return "/tasks/import/" + job }

// sentence says what was imported, or is "" while that is not known.
func (m ImportModel) sentence() string {
	switch {
	case m.State == jobs.Completed:
		return m.String() + "."
	case m.Done == 0:
		return ""
	case m.State.Ended():
		return "Stopped after " + m.String() + "."
	}
	return m.String() + " so far."
}

// shownOf says how many of the refused lines are shown.
func (m ImportModel) shownOf() string {
	if m.Import.Refused <= len(m.Lines) {
		return ""
	}
	return fmt.Sprintf("the first %d of %s", len(m.Lines), ui.Number(int64(m.Import.Refused)))
}
