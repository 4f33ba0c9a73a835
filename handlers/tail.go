package handlers

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/messages"
	"github.com/warrenjobs/warren/views"
)

// tail shows the messages that an exchange routes. Without an exchange it is the form to choose one.
func (a *App) tail(c echo.Context) error {
	m, err := parseTail(c)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.Request().Context(), 2*queryTimeout) // to connect to the broker, not to the database
	defer cancel()
	if err := a.showTail(ctx, c, &m); err != nil {
		if partial(c) {
			return a.brokerProblem(err)
		}
		m.Problem = a.brokerSentence(err)
	}
	if partial(c) {
		return render(c, http.StatusOK, views.TailMessages(m))
	}
	m.Exchanges = a.exchangeNames(ctx)
	frame := a.frame(c, "messages", "Messages", m.Topics()...)
	frame.Search, frame.Lead, frame.Refresh = "", m.Lead(), m.View.Topic != ""
	return render(c, http.StatusOK, views.Tail(frame, m))
}

func parseTail(c echo.Context) (views.TailModel, error) {
	q := c.QueryParams()
	get := func(name string) string { return strings.TrimSpace(q.Get(name)) }
	m := views.TailModel{Source: messages.Source{Exchange: get("exchange"), Pattern: get("pattern")},
		Chosen: q.Has("exchange") && !q.Has("stopped"), Filter: get("q")}
	m.After, _ = strconv.ParseInt(q.Get("after"), 10, 64)
	m.Open, _ = strconv.ParseInt(q.Get("open"), 10, 64)
	return m, shortTexts(map[string]string{"exchange": m.Source.Exchange, "pattern": m.Source.Pattern, "q": m.Filter}).OrNil()
}

func (a *App) showTail(ctx context.Context, c echo.Context, m *views.TailModel) error {
	if !m.Chosen || c.Request().Method == http.MethodHead {
		return nil
	}
	view, err := a.Tails.Show(ctx, streamOwner(c), m.Source)
	if err != nil {
		return err
	}
	m.View = view
	return nil
}

// exchangeNames returns the exchanges to choose from; none if they are not known.
func (a *App) exchangeNames(ctx context.Context) []messages.Exchange {
	list, err := a.Broker.Exchanges(ctx)
	if err != nil {
		a.Log.Debug("list the exchanges", "error", err)
	}
	return list
}

// brokerSentence says why the broker did not do what was asked by hand.
func (a *App) brokerSentence(err error) string {
	var wrong jobs.FieldErrors
	if errors.As(err, &wrong) {
		return "The " + wrong[0].Field + " " + wrong[0].Message + "."
	}
	return problemOf(a.brokerProblem(err)).Detail
}

// brokerProblem gives errors of tails and of publishing by hand the status and the words of a response.
func (a *App) brokerProblem(err error) error {
	var fields jobs.FieldErrors
	var many *messages.TooManyError
	switch {
	case errors.As(err, &fields):
		return fields
	case errors.As(err, &many):
		return echo.NewHTTPError(http.StatusTooManyRequests, many.Error())
	case errors.Is(err, jobs.ErrUnavailable), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		a.Log.Warn("the broker did not do what was asked by hand", "error", err)
		return echo.NewHTTPError(http.StatusServiceUnavailable, views.AsSentence(err.Error()))
	}
	return err
}

// tailed returns the message of a tail that the query names, to publish it again; ok is false if it is
// not kept any more.
func (a *App) tailed(c echo.Context) (m messages.Tailed, ok bool) {
	seq, err := strconv.ParseInt(c.QueryParam("message"), 10, 64)
	if err != nil || lacks(c.Request().Context(), ViewArgs) != "" {
		return m, false
	}
	return a.Tails.Find(streamOwner(c), messages.Source{Exchange: c.QueryParam("tail"), Pattern: c.QueryParam("pattern")}, seq)
}

// likeTailed fills a form with a message.
func likeTailed(m messages.Tailed) (form url.Values, note string) {
	form = url.Values{"exchange": {m.Exchange}, "routing_key": {m.Key}, "content_type": {m.ContentType},
		"content_encoding": {m.ContentEncoding}, "correlation_id": {m.CorrelationID}, "reply_to": {m.ReplyTo}, "expiration": {m.Expiration},
		"message_id": {m.MessageID}, "timestamp": {m.Timestamp}, "type": {m.Type}, "user_id": {m.UserID}, "app_id": {m.AppID}}
	if m.Priority > 0 {
		form.Set("priority", strconv.Itoa(m.Priority))
	}
	if m.DeliveryMode == 2 {
		form.Set("persistent", "true")
	}
	var notes []string
	lines, left := messages.FormatHeaders(m.Headers)
	form.Set("headers", strings.Join(lines, "\n"))
	if len(left) > 0 {
		notes = append(notes, "Headers that are lists or tables are left out: "+strings.Join(left, ", ")+".")
	}
	switch text, isText := m.Text(); {
	case m.Cut():
		notes = append(notes, "The body is left out: only its beginning was kept.")
	case !isText:
		notes = append(notes, "The body is left out: it is not text. Choose it as a file.")
	default:
		form.Set("body", text)
	}
	return form, strings.Join(notes, " ")
}
