package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"gorm.io/gorm"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
)

const reasonMax = 2000 // bytes of a reason: the 500 characters that the form takes always fit

// audit records who did what, in the transaction that does it, and notifies the pages that show it.
// details are JSON for people, such as the state before; nil for none.
func audit(ctx context.Context, tx pgx.Tx, by jobs.Actor, action, target string, details any) error {
	_, err := tx.Exec(ctx, `INSERT INTO warren.audit (actor, source, action, target, reason, details) VALUES ($1, $2, $3, $4, $5, $6)`,
		cleanText(by.Name), cleanText(by.From), action, target, shortText(by.Reason, reasonMax), details)
	if err != nil {
		return fmt.Errorf("write the audit log: %w", err)
	}
	return notify(ctx, tx, append(shownOn(target), Change{Topic: engine.TopicAudit})...)
}

// shownOn returns the pages that show what an audited action changes. The audit row notifies them,
// not each caller, so that changes by page, API and command line appear alike.
func shownOn(target string) []Change {
	kind, name, _ := strings.Cut(target, ":")
	switch kind {
	case "job":
		return []Change{{Topic: engine.TopicJobs, IDs: []string{name}}, {Topic: engine.TopicOutbox}, {Topic: engine.TopicFailures}}
	case "task": // and the task's job
		return []Change{{Topic: engine.TopicTasks, IDs: []string{name}}, {Topic: engine.TopicJobs}}
	case "schedule": // and its job
		return []Change{{Topic: engine.TopicSchedules, IDs: []string{name}}, {Topic: engine.TopicJobs}}
	case "queue":
		return []Change{{Topic: engine.TopicQueues}, {Topic: engine.TopicOutbox}, {Topic: engine.TopicJobs}}
	case "process":
		return []Change{{Topic: engine.TopicWorkers}}
	case "outbox":
		return []Change{{Topic: engine.TopicOutbox}}
	case "operation":
		return []Change{{Topic: engine.TopicJobs}, {Topic: engine.TopicOutbox}, {Topic: engine.TopicFailures}}
	case "failure":
		return []Change{{Topic: engine.TopicJobs}, {Topic: engine.TopicFailures}}
	case "demo":
		return []Change{{Topic: engine.TopicJobs}, {Topic: engine.TopicTasks}, {Topic: engine.TopicFailures}}
	}
	return nil
}

// WriteAudit records an action outside of the database, such as a sign-in.
func (s *Store) WriteAudit(ctx context.Context, by jobs.Actor, action, target string, details any) error {
	return s.inTx(ctx, func(tx pgx.Tx) error { return audit(ctx, tx, by, action, target, details) })
}

// Audit reads one page of the audit log, newest first, at most limit entries.
func (s *Store) Audit(ctx context.Context, f jobs.AuditFilter, c jobs.Cursor, limit int) (page jobs.Page[jobs.AuditEntry], err error) {
	columns := "id, at, actor, source, action, target, reason, details::text"
	q, err := seekID[int64](s.audited(ctx, f).Select(columns), "id", c, limit)
	if err != nil {
		return page, err
	}
	list, err := collect(q, func(row scanner) (e jobs.AuditEntry, err error) {
		var details sql.NullString
		err = row.Scan(&e.ID, &e.At, &e.Actor, &e.From, &e.Action, &e.Target, &e.Reason, &details)
		if details.Valid {
			e.Details = json.RawMessage(details.String)
		}
		return e, err
	})
	if err != nil {
		return page, fmt.Errorf("read the audit log: %w", err)
	}
	return pageOf(list, c, limit, func(e jobs.AuditEntry) any { return e.ID }), nil
}

// AuditNames returns the kinds of the jobs, the descriptions of the tasks and the names of the schedules among the targets of
// audit entries, by target. It leaves out those that no longer exist.
func (s *Store) AuditNames(ctx context.Context, targets []string) (map[string]string, error) {
	ids := map[string][]uuid.UUID{}
	for _, target := range targets {
		kind, name, _ := strings.Cut(target, ":")
		if id, err := uuid.Parse(name); err == nil {
			ids[kind] = append(ids[kind], id)
		}
	}
	rows, err := s.pool.Query(ctx, `
		SELECT 'job:' || id, kind FROM warren.jobs WHERE id = ANY($1)
		UNION ALL SELECT 'task:' || id, description FROM warren.tasks WHERE id = ANY($2)
		UNION ALL SELECT 'schedule:' || id, name FROM warren.schedules WHERE id = ANY($3) AND name IS NOT NULL`,
		ids["job"], ids["task"], ids["schedule"])
	if err != nil {
		return nil, fmt.Errorf("read the names of what was done: %w", err)
	}
	names, target, name := map[string]string{}, "", ""
	_, err = pgx.ForEachRow(rows, []any{&target, &name}, func() error {
		names[target] = name
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the names of what was done: %w", err)
	}
	return names, nil
}

// audited returns a new query on the audit log.
func (s *Store) audited(ctx context.Context, f jobs.AuditFilter) *gorm.DB {
	q := s.orm.WithContext(ctx).Table("warren.audit")
	if f.Actor != "" {
		q = q.Where("actor = ?", cleanText(f.Actor))
	}
	if f.Action != "" {
		q = q.Where("action = ?", cleanText(f.Action))
	}
	if f.Within > 0 {
		q = q.Where("at > ? AND "+newestAudit, time.Now().Add(-f.Within), jobs.SearchWindow)
	}
	if f.Target == "" {
		return q
	}
	target := cleanText(f.Target)
	if s.auditKnows(ctx, target) {
		return q.Where(auditNamed, target, target)
	}
	like := "%" + likeEscaper.Replace(target) + "%"
	return q.Where(newestAudit, jobs.SearchWindow).Where("(target ILIKE ? OR reason ILIKE ?)", like, like)
}

// newestAudit bounds what no index serves.
const newestAudit = "id > (SELECT max(id) FROM warren.audit) - ?"

// auditNamed uses the expressions of the indexes audit_target and audit_target_name.
const auditNamed = "(target = ? OR substr(target, strpos(target, ':') + 1) = ?)"

func (s *Store) auditKnows(ctx context.Context, target string) (known bool) {
	err := s.orm.WithContext(ctx).Raw("SELECT EXISTS (SELECT FROM warren.audit WHERE "+auditNamed+")", target, target).Scan(&known).Error
	return err == nil && known // the caller's own query then fails too
}

// AuditActors lists all actors in the audit log, by a loose index scan.
func (s *Store) AuditActors(ctx context.Context) ([]string, error) {
	return s.distinctIn(ctx, "audit", "actor")
}

// AuditActions lists all actions in the audit log, by a loose index scan.
func (s *Store) AuditActions(ctx context.Context) ([]string, error) {
	return s.distinctIn(ctx, "audit", "action")
}
