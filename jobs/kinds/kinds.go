// Package kinds holds the built-in kinds, one file each, and the list of them.
package kinds

import "github.com/warrenjobs/warren/jobs"

// Register adds the built-in kinds to r.
func Register(r *jobs.Registry) {
	jobs.Register(r, dots)
}
