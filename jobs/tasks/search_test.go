package tasks_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs/tasks"
)

func TestWords_AreRunsOfLettersAndDigitsInAnyLanguage(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][]string{
		"Send invoice #4711, please!":  {"send", "invoice", "4711", "please"},
		"ann@example.org/report_24.md": {"ann", "example", "org", "report", "24", "md"},
		"Ärger über Öl":                {"ärger", "über", "öl"},
		"ΣΊΣΥΦΟΣ и ЁЖ":                 {"σίσυφοσ", "и", "ёж"},
		"हिन्दी":                       {"हिन्दी"},
		"明日のTokyo会議":                   {"明", "日", "の", "tokyo", "会", "議"},
		"'); -- \\ & | ! : *":          nil,
		strings.Repeat("a", 5000):      {strings.Repeat("a", 200)},
	} {
		require.Equal(t, want, tasks.Words(text), "%.40q", text)
	}
}
