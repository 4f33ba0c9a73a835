package store_test

import (
	"bytes"
	"encoding/json"
	"io"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/engine"
	"github.com/warrenjobs/warren/store"
)

func TestJob_APageReadsTheBeginningOfWhatIsLargeAndADownloadAllOfIt(t *testing.T) {
	t.Parallel()
	s, conn := database(t)
	const size = 3 << 20 // of characters, most of which have two bytes
	id := add(t, s, jobs.NewJob{Kind: "work", Args: json.RawMessage(`{"text":"ü"}`)})[0]
	execute(t, conn, `UPDATE warren.jobs SET output = to_json(repeat('aé', $2)) WHERE id = $1`, id, size/2)
	whole := `"` + strings.Repeat("aé", size/2) + `"`

	shown, err := s.ShownJob(t.Context(), id)
	require.NoError(t, err)
	require.EqualValues(t, len(whole), shown.OutputSize)
	require.Less(t, len(shown.Output), 64<<10)
	require.True(t, strings.HasPrefix(whole, string(shown.Output)))
	require.JSONEq(t, `{"text":"ü"}`, string(shown.Args))
	require.EqualValues(t, len(shown.Args), shown.ArgsSize)
	require.Equal(t, whole, string(read(t, s, id).Output), "the API has all of it")

	require.Equal(t, whole, document(t, s, id, store.DocumentOutput))
	require.JSONEq(t, `{"text":"ü"}`, document(t, s, id, store.DocumentArgs))
	for _, missing := range []uuid.UUID{uuid.New(), add(t, s, work())[0]} {
		_, err = s.DocumentSize(t.Context(), missing, store.DocumentOutput)
		require.ErrorIs(t, err, jobs.ErrNotFound)
	}
}

// document downloads a document, which has the size that is said before.
func document(t *testing.T, s *store.Store, id uuid.UUID, part store.Document) string {
	t.Helper()
	size, err := s.DocumentSize(t.Context(), id, part)
	require.NoError(t, err)
	got, err := io.ReadAll(s.OpenDocument(t.Context(), id, part))
	require.NoError(t, err)
	require.Len(t, got, int(size))
	pieces, err := io.ReadAll(s.OpenDocumentBy(t.Context(), id, part, int(size)/3+1))
	require.NoError(t, err)
	require.True(t, bytes.Equal(got, pieces), "in three pieces")
	return string(got)
}

func TestJob_OfALargeMessageAPageReadsTheBeginning(t *testing.T) {
	t.Parallel()
	s, _ := database(t)
	body := strings.Repeat("\x00binary\xff", 200_000)
	id, err := s.RefuseForeign(t.Context(), engine.Delivery{Queue: "default", Body: []byte(body)}, strings.Repeat("why ", 10_000))
	require.NoError(t, err)
	shown, err := s.ShownJob(t.Context(), id)
	require.NoError(t, err)
	require.EqualValues(t, len(body), shown.Raw.Size)
	require.Len(t, shown.Raw.Body, 16<<10)
	require.LessOrEqual(t, len(*shown.LastError), 16<<10)
	require.Equal(t, body, document(t, s, id, store.DocumentMessage))
}
