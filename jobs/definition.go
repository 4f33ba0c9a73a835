package jobs

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"time"
)

// Definition is the description of a kind that a process shares with the others:
// everything except its handler and its Validator, which run only where its jobs are worked.
type Definition struct {
	Name        string          `json:"name"`
	Description string          `json:"description,omitempty"`
	Schema      json.RawMessage `json:"schema"`
	Fields      []Field         `json:"fields"`
	Handled     bool            `json:"handled"`

	Queue       string        `json:"queue,omitempty"`
	MaxAttempts int           `json:"max_attempts,omitempty"`
	Timeout     time.Duration `json:"timeout,omitempty"`
	Tags        []string      `json:"tags,omitempty"`
}

// Definition returns the description of the kind that is shared with other processes.
func (k *Kind) Definition() Definition {
	d := k.defaults
	return Definition{Name: k.Name, Description: k.Description, Schema: k.Schema, Fields: k.Fields, Handled: k.Handled(),
		Queue: d.Queue, MaxAttempts: d.MaxAttempts, Timeout: d.Timeout, Tags: d.Tags}
}

// Kind returns the kind for a process that submits its jobs and does not work them. It
// fails if the schema cannot be compiled.
func (d Definition) Kind() (*Kind, error) {
	schema, err := compile(d.Schema)
	if err != nil {
		return nil, fmt.Errorf("read the schema of kind %s: %w", d.Name, err)
	}
	return &Kind{Name: d.Name, Description: d.Description, Fields: d.Fields, Schema: d.Schema, schema: schema,
		digest:   sha256.Sum256(d.Schema),
		defaults: NewJob{Queue: d.Queue, MaxAttempts: d.MaxAttempts, Timeout: d.Timeout, Tags: d.Tags}}, nil
}
