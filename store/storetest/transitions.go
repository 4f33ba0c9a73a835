package storetest

import (
	"fmt"
	"strings"

	"github.com/warrenjobs/warren/jobs"
)

// refuseTransitions has a database refuse the changes of a job's state that Warren
// makes and the table of transitions has not. What tests set by themselves goes.
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
