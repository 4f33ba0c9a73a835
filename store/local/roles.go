package local

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/warrenjobs/warren/jobs/child"
)

const (
	name        = "warren"       // the role of applications, without superuser, and the database that it owns
	superuser   = "warren_admin" // administers the server, and only that: COPY … TO PROGRAM runs programs as the server's user
	maintenance = "postgres"     // the database that each server has
)

// errNoSuperuser means that the data has not the roles of today, or not our passwords.
var errNoSuperuser = errors.New("the superuser cannot sign in")

// prepare waits until the server answers, and makes the applications' role and database if they are missing.
func (s *Server) prepare(ctx context.Context) error {
	conn, err := s.connect(ctx, s.AdminURL())
	if errors.Is(err, errRefused) {
		return fmt.Errorf("%w: %w", errNoSuperuser, err)
	}
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if err := s.makeRole(ctx, conn); err != nil {
		return fmt.Errorf("create the role %s: %w", name, err)
	}
	if err := makeDatabase(ctx, conn); err != nil {
		return fmt.Errorf("create the database %s: %w", name, err)
	}
	application, err := s.connect(ctx, s.URL())
	if errors.Is(err, errRefused) {
		return fmt.Errorf("the password in DIR/postgres/password is not the server's: %w", err)
	}
	if err != nil {
		return err
	}
	return application.Close(ctx)
}

func (s *Server) makeRole(ctx context.Context, conn *pgx.Conn) error {
	var exists bool
	if err := conn.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)`, name).Scan(&exists); err != nil || exists {
		return err
	}
	return execute(ctx, conn, `CREATE ROLE `+name, setPassword(name, s.password))
}

func setPassword(role, password string) string {
	return `ALTER ROLE ` + role + ` LOGIN PASSWORD '` + password + `'` // a Secret has letters and digits
}

func makeDatabase(ctx context.Context, conn *pgx.Conn) error {
	var exists bool
	if err := conn.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)`, name).Scan(&exists); err != nil || exists {
		return err
	}
	return execute(ctx, conn, `CREATE DATABASE `+name+` OWNER `+name)
}

// A Warren before made one role, the superuser warren, which owns all there is. Such data gets the two roles of today: warren becomes
// warren_admin, and its databases go, with all that is in them, to a new role that takes the name and the password of warren.
const (
	successor = "warren_new"  // becomes warren
	renamer   = "warren_swap" // no session can rename its own role
)

// splitRoles runs the server on a port that nobody knows yet. Until the last transaction the old role works as before, so that
// a process that dies on the way has only to begin again.
func (s *Server) splitRoles(ctx context.Context, home folder, log *slog.Logger) (err error) {
	hidden := &Server{password: s.password, superuserPassword: s.superuserPassword}
	if hidden.port, err = child.FreePort(); err != nil {
		return err
	}
	if hidden.process, err = hidden.launch(ctx, home, log); err != nil {
		return err
	}
	defer hidden.abandon()
	conn, err := hidden.connect(ctx, hidden.url(name, s.password, maintenance))
	if errors.Is(err, errRefused) {
		return fmt.Errorf("the passwords in DIR/postgres are not the server's: %w", err)
	}
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var old bool
	if err := conn.QueryRow(ctx, `SELECT rolsuper FROM pg_roles WHERE rolname = $1`, name).Scan(&old); err != nil {
		return err
	}
	if !old {
		return errors.New("the password in DIR/postgres/superuser is not the server's")
	}
	if log != nil {
		log.Info("giving the private PostgreSQL's databases to a role without superuser", "role", name)
	}
	if err := hidden.giveDatabases(ctx, conn); err != nil {
		return err
	}
	return s.swapRoles(ctx, conn)
}

// giveDatabases gives the successor all databases that the old role has made.
func (s *Server) giveDatabases(ctx context.Context, conn *pgx.Conn) error {
	const duplicate = "42710" // SQLSTATE duplicate_object
	if err := execute(ctx, conn, `CREATE ROLE `+successor); err != nil && !hasCode(err, duplicate) {
		return err
	}
	rows, err := conn.Query(ctx, `
		SELECT datname FROM pg_database WHERE datdba = $1::regrole AND datallowconn AND NOT datistemplate AND datname <> $2`,
		name, maintenance)
	if err != nil {
		return err
	}
	databases, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	for _, database := range databases {
		if err := s.giveDatabase(ctx, database); err != nil {
			return fmt.Errorf("give the database %s to another role: %w", database, err)
		}
	}
	return nil
}

func (s *Server) giveDatabase(ctx context.Context, database string) error {
	conn, err := s.connect(ctx, s.url(name, s.password, database))
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	rows, err := conn.Query(ctx, ownerChanges, name, successor)
	if err != nil {
		return err
	}
	changes, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	return execute(ctx, conn, append(changes, `ALTER DATABASE `+pgx.Identifier{database}.Sanitize()+` OWNER TO `+successor)...)
}

// ownerChanges returns the statements that give what role $1 has made in this database to role $2. PostgreSQL refuses REASSIGN OWNED
// for its first role. Sequences of columns, array types and the like follow what they belong to; parts of an extension, and rarer
// things such as operators, stay.
const ownerChanges = `
	WITH made AS (
		SELECT 1 AS place, 'pg_namespace'::regclass AS class, oid, nspowner AS owner, 'SCHEMA' AS kind, quote_ident(nspname) AS name
		FROM pg_namespace
		UNION ALL
		SELECT 2, 'pg_type'::regclass, t.oid, typowner, 'TYPE', format_type(t.oid, NULL)
		FROM pg_type t LEFT JOIN pg_class c ON c.oid = typrelid
		WHERE typtype IN ('d', 'e', 'r') OR c.relkind = 'c'
		UNION ALL
		SELECT 3, 'pg_class'::regclass, oid, relowner, 'TABLE', oid::regclass::text
		FROM pg_class c
		WHERE relkind IN ('r', 'p', 'v', 'm', 'f') OR relkind = 'S' AND NOT EXISTS (
			SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype IN ('a', 'i'))
		UNION ALL
		SELECT 4, 'pg_proc'::regclass, oid, proowner, 'ROUTINE', oid::regprocedure::text
		FROM pg_proc)
	SELECT format('ALTER %s %s OWNER TO %I', kind, name, $2::text)
	FROM made m
	WHERE owner = $1::regrole AND oid >= 16384 -- what initdb makes has smaller ones
		AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = m.class AND d.objid = m.oid AND d.deptype = 'e')
	ORDER BY place, oid`

func (s *Server) swapRoles(ctx context.Context, conn *pgx.Conn) error {
	return execute(ctx, conn,
		`CREATE ROLE `+renamer+` SUPERUSER`,
		`SET SESSION AUTHORIZATION `+renamer,
		`ALTER ROLE `+name+` RENAME TO `+superuser,
		setPassword(superuser, s.superuserPassword),
		`ALTER ROLE `+successor+` RENAME TO `+name,
		setPassword(name, s.password),
		`RESET SESSION AUTHORIZATION`,
		`DROP ROLE `+renamer)
}

// execute executes the statements, several in one transaction.
func execute(ctx context.Context, conn *pgx.Conn, statements ...string) error {
	if len(statements) == 1 { // CREATE DATABASE refuses a transaction
		_, err := conn.Exec(ctx, statements[0])
		return err
	}
	return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		for _, sql := range statements {
			if _, err := tx.Exec(ctx, sql); err != nil {
				return err
			}
		}
		return nil
	})
}

func hasCode(err error, code string) bool {
	refused := (*pgconn.PgError)(nil)
	return errors.As(err, &refused) && refused.Code == code
}
