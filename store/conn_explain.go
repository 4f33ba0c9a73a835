package store

import (
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Explain returns a sentence for an error that an administrator can fix, with the command to run;
// "" for any other error. The sentence carries no password.
func (s *Store) Explain(err error) string {
	var pg *pgconn.PgError
	switch {
	case errors.Is(err, ErrPooler), errors.Is(err, ErrTooNew):
		return sentence(err.Error())
	case errors.Is(err, pgconn.ErrReadOnlyConnection):
		return "No server that DATABASE_URL names takes writes: promote a standby, or name the primary too " +
			"(postgres://user:password@host1,host2/name)."
	case !errors.As(err, &pg):
		return ""
	}
	cfg := s.pool.Config().ConnConfig
	user, database := ident(cfg.User), ident(cfg.Database)
	said := sentence("PostgreSQL says: " + pg.Message)
	if what := explainParam(err, pg); what != "" {
		return said + " " + what
	}
	switch pg.Code {
	case "28000", "28P01": // invalid_authorization_specification, invalid_password
		if strings.Contains(pg.Message, "log in") {
			return said + " Have an administrator run: ALTER ROLE " + user + " LOGIN"
		}
		return said + " Check the user and the password of DATABASE_URL."
	case "3D000": // invalid_catalog_name
		return said + " Have an administrator run: CREATE DATABASE " + database + " OWNER " + user
	case "42501": // insufficient_privilege
		return said + " " + grant(err, pg.Message, user, database)
	}
	return ""
}

// grant names the missing privilege and how to grant it.
func grant(err error, message, user, database string) string {
	var connect *pgconn.ConnectError
	switch {
	case strings.Contains(message, "for database") && !errors.As(err, &connect):
		return "Have an administrator run: CREATE SCHEMA warren AUTHORIZATION " + user
	case strings.Contains(message, "for database"):
		return "Have an administrator run: GRANT CONNECT ON DATABASE " + database + " TO " + user
	case strings.Contains(message, "for schema"):
		return fmt.Sprintf("Have its owner run: GRANT USAGE, CREATE ON SCHEMA %s TO %s (or warren migrate as a role that may, and "+
			"GRANT USAGE here).", ident(last(message)), user)
	case strings.Contains(message, "must be owner"):
		return "Run warren migrate with the role that owns Warren's tables."
	}
	return fmt.Sprintf("Have the owner of Warren's tables run: GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA warren TO %s",
		user)
}

// last returns the last word of a message such as "permission denied for schema public".
func last(message string) string {
	words := strings.Fields(message)
	return strings.Trim(words[len(words)-1], `"`)
}

func sentence(s string) string { return strings.ToUpper(s[:1]) + s[1:] + "." }

func ident(name string) string { return pgx.Identifier{name}.Sanitize() }
