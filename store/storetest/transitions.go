package storetest

import (
	"fmt"
	"strings"

	"github.com/warrenjobs/warren/jobs"
)

// refuseTransitions returns SQL that makes a database refuse Warren's changes of a job's state that
// are not in the table of transitions. Changes that tests make by themselves are accepted.
func refuseTransitions() string {
	var allowed []string
	for _, from := range jobs.States {
		for _, to := range jobs.States {
			if from.MayBecome(to) {
				allowed = append(allowed, fmt.Sprintf("('%s', '%s')", from, to))
			}
		}
	}
	return `
CREATE FUNCTION warren.refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	RAISE EXCEPTION 'no transition leads from % to %', OLD.state, NEW.state;
END $$;
CREATE TRIGGER transitions BEFORE UPDATE OF state ON warren.jobs FOR EACH ROW
WHEN (OLD.state <> NEW.state AND (OLD.state, NEW.state) NOT IN (` + strings.Join(allowed, ", ") + `)
	AND current_setting('application_name') = 'warren') EXECUTE FUNCTION warren.refuse()`
}
