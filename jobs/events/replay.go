package events

import "time"

// ReplayArgs are the args of the kind events.replay, which gives a subscriber stored events again.
type ReplayArgs struct {
	Subscriber string    `json:"subscriber" jsonschema:"minLength=1,description=Name of the subscriber"`
	Since      time.Time `json:"since" jsonschema:"description=Events published from then on"`
	Until      time.Time `json:"until" jsonschema:"description=Events published before then"`
}

// Kind implements jobs.Args.
func (ReplayArgs) Kind() string { return "events.replay" }

// Description describes the kind to people.
func (ReplayArgs) Description() string {
	return "Gives a subscriber the stored events that match its patterns again, as new jobs."
}
