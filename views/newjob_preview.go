package views

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/warrenjobs/warren/jobs"
)

// JobRequest is a new job as the API takes it. What is not set is left out.
type JobRequest struct {
	Kind        string          `json:"kind"`
	Args        json.RawMessage `json:"args"`
	Queue       string          `json:"queue,omitempty"`
	RunAt       string          `json:"run_at,omitempty"` // as jobs.ParseTime takes it
	MaxAttempts int             `json:"max_attempts,omitempty"`
	UniqueKey   string          `json:"unique_key,omitempty"`
	Tags        []string        `json:"tags,omitempty"`
	Timeout     string          `json:"timeout,omitempty"`
}

// JobPreview is the job that the form would submit, in the ways in which it can be submitted.
type JobPreview struct {
	Request  JobRequest
	Needed   []string // labels of fields that are required and empty
	Wrong    []string // sentences
	Unworked string   // the queue, if no worker takes jobs from it
	Show     string   // one of previewTabs; json if empty
	API      string   // URL to post jobs to
	Password bool     // the API asks for it
}

// notes says what the job still needs, and what would keep it waiting.
func (p JobPreview) notes() string {
	var list []string
	if len(p.Needed) > 0 {
		list = append(list, "Still needed: "+strings.Join(p.Needed, ", ")+".")
	}
	if len(p.Wrong) > 0 {
		list = append(list, "Not valid yet: "+strings.Join(p.Wrong, "; ")+".")
	}
	if p.Unworked != "" {
		list = append(list, "No worker takes jobs from the queue "+p.Unworked+": the job would wait.")
	}
	return strings.Join(list, " ")
}

// previewTabs are the forms of the preview and their labels.
var previewTabs = [][2]string{{"json", "JSON"}, {"curl", "curl"}, {"cli", "CLI"}, {"go", "Go"}}

// shown returns the tab that is shown, with its label.
func (p JobPreview) shown() [2]string {
	for _, tab := range previewTabs {
		if tab[0] == p.Show {
			return tab
		}
	}
	return previewTabs[0]
}

// text returns what the shown tab has to copy; "" while the args are no JSON.
func (p JobPreview) text() string {
	if !json.Valid(p.Request.Args) {
		return ""
	}
	switch p.shown()[0] {
	case "curl":
		return p.curl()
	case "cli":
		return p.Request.command()
	case "go":
		return p.Request.goCode()
	}
	return p.Request.document()
}

// document returns the request as the body of a request to the API.
func (r JobRequest) document() string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	_ = enc.Encode(r) // the args are valid
	return strings.TrimSpace(b.String())
}

func (p JobPreview) curl() string {
	lines := []string{"curl " + shellWord(p.API)}
	if p.Password {
		lines = append(lines, `  -H "Authorization: Bearer $WARREN_PASSWORD"`)
	}
	lines = append(lines, "  -H 'Content-Type: application/json'", "  --data-raw "+shellWord(p.Request.document()))
	return strings.Join(lines, " \\\n")
}

// command returns the request for the command line.
func (r JobRequest) command() string {
	lines := []string{"warren enqueue " + shellWord(r.Kind) + " " + shellWord(compact(r.Args))}
	flag := func(name, value string) {
		if value != "" {
			lines = append(lines, "  --"+name+" "+shellWord(value))
		}
	}
	flag("queue", r.Queue)
	flag("at", r.RunAt)
	if r.MaxAttempts > 0 {
		flag("max-attempts", strconv.Itoa(r.MaxAttempts))
	}
	flag("timeout", r.Timeout)
	flag("unique-key", r.UniqueKey)
	for _, tag := range r.Tags {
		flag("tag", csvField(tag))
	}
	return strings.Join(lines, " \\\n")
}

// goCode returns the request for an application's own code.
func (r JobRequest) goCode() string {
	var fields [][2]string
	add := func(isSet bool, name, value string) {
		if isSet {
			fields = append(fields, [2]string{name + ":", value})
		}
	}
	add(true, "Kind", strconv.Quote(r.Kind))
	add(true, "Args", "json.RawMessage("+goText(compact(r.Args))+")")
	add(r.Queue != "", "Queue", strconv.Quote(r.Queue))
	add(r.RunAt != "", "RunAt", goTime(r.RunAt))
	add(r.MaxAttempts > 0, "MaxAttempts", strconv.Itoa(r.MaxAttempts))
	add(r.UniqueKey != "", "UniqueKey", strconv.Quote(r.UniqueKey))
	add(len(r.Tags) > 0, "Tags", fmt.Sprintf("%#v", r.Tags))
	if timeout, err := time.ParseDuration(r.Timeout); err == nil {
		add(timeout > 0, "Timeout", goDuration(timeout))
	}
	width := 0
	for _, f := range fields {
		width = max(width, len(f[0]))
	}
	var b strings.Builder
	b.WriteString("// client is a *warren.Client\nadded, err := client.EnqueueMany(ctx, []jobs.NewJob{{\n")
	for _, f := range fields {
		fmt.Fprintf(&b, "\t%-*s %s,\n", width, f[0], f[1])
	}
	b.WriteString("}})")
	return b.String()
}

func indentedJSON(raw json.RawMessage) string {
	var b bytes.Buffer
	_ = json.Indent(&b, raw, "", "  ") // it is valid
	return b.String()
}

func compact(raw json.RawMessage) string {
	var b bytes.Buffer
	_ = json.Compact(&b, raw) // it is valid
	return b.String()
}

var plainWord = regexp.MustCompile(`^[A-Za-z0-9_./:+@%,-]+$`)

// shellWord quotes text as one word for a POSIX shell.
func shellWord(s string) string {
	if plainWord.MatchString(s) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// csvField writes a value for a flag that takes a list of comma-separated values.
func csvField(s string) string {
	var b strings.Builder
	w := csv.NewWriter(&b)
	_ = w.Write([]string{s}) // a strings.Builder takes all
	w.Flush()
	return strings.TrimSuffix(b.String(), "\n")
}

// goText writes text as a Go string, raw if it can be.
func goText(s string) string {
	if strconv.CanBackquote(s) {
		return "`" + s + "`"
	}
	return strconv.Quote(s)
}

// goTime writes a time as jobs.ParseTime takes it in Go.
func goTime(text string) string {
	if after, ok := strings.CutPrefix(text, "+"); ok {
		if d, err := time.ParseDuration(after); err == nil {
			return "time.Now().Add(" + goDuration(d) + ")"
		}
	}
	at, _ := jobs.ParseTime(text, time.Time{}) // it is valid
	return at.UTC().Truncate(time.Second).GoString()
}

func goDuration(d time.Duration) string {
	for _, unit := range []struct {
		of   time.Duration
		name string
	}{{time.Hour, "time.Hour"}, {time.Minute, "time.Minute"}, {time.Second, "time.Second"}, {time.Millisecond, "time.Millisecond"}} {
		switch {
		case d == unit.of:
			return unit.name
		case d%unit.of == 0:
			return fmt.Sprintf("%d * %s", d/unit.of, unit.name)
		}
	}
	return fmt.Sprintf("%d * time.Nanosecond", d)
}
