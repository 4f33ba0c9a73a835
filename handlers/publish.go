package handlers

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/labstack/echo/v4"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/jobs/messages"
	"github.com/warrenjobs/warren/views"
	"github.com/warrenjobs/warren/views/ui"
)

// publishForm shows the form of a message: empty, with the exchange and key of a link, or with a message
// of a tail.
func (a *App) publishForm(c echo.Context) error {
	form, note := url.Values{"exchange": {c.QueryParam("exchange")}, "routing_key": {c.QueryParam("key")}, "persistent": {"true"}}, ""
	if err := shortTexts(firstValues(form)).OrNil(); err != nil {
		return err
	}
	if c.QueryParam("message") != "" {
		m, ok := a.tailed(c)
		if !ok {
			note = "That message is not kept any more: its tail was closed, or newer ones came."
		} else {
			form, note = likeTailed(m)
		}
	}
	m := views.PublishModel{Values: firstValues(form)}
	if note != "" {
		m.Flash = &ui.FlashProps{Kind: "note", Text: note}
	}
	return a.showPublish(c, http.StatusOK, m)
}

func (a *App) showPublish(c echo.Context, status int, m views.PublishModel) error {
	ctx, cancel := query(c)
	defer cancel()
	m.Exchanges = a.exchangeNames(ctx)
	m.Own = a.Broker.Own(m.Values["exchange"], m.Values["routing_key"])
	frame := a.frame(c, "messages", "Messages")
	frame.Lead, frame.Path = "Publish one message by hand", "/publish"
	if m.Flash != nil {
		frame.Flash = append(frame.Flash, *m.Flash)
	}
	return render(c, status, views.Publish(frame, m))
}

// publish handles the form. It comes back in any case with what was typed, to publish once more with
// changes.
func (a *App) publish(c echo.Context) error {
	form, err := readForm(c)
	if err != nil {
		return err
	}
	m := views.PublishModel{Values: firstValues(form)}
	msg, wrong := messageOfForm(form)
	file, err := uploadedBody(c)
	if err != nil {
		return err
	}
	if file != nil {
		msg.Body = file
		m.Values["body"], m.FileLost = "", true
		if utf8.Valid(file) && !bytes.ContainsRune(file, 0) {
			m.Values["body"], m.FileLost = string(file), false
		}
	}
	if form.Get("check") != "" {
		m.Check = checkJSON(msg.Body)
		return a.showPublish(c, http.StatusOK, m)
	}
	answer, err := a.publishByHand(c, msg, wrong, form.Get("confirm") != "")
	if err == nil {
		m.Flash = &ui.FlashProps{Kind: "done", Text: "Published.", Detail: answer.String()}
		if !answer.Routed {
			m.Flash = &ui.FlashProps{Kind: "error", Text: answer.String(), Detail: "No binding of the exchange matches this routing key."}
			if msg.Exchange == "" {
				m.Flash.Detail = "No queue has this name."
			}
		}
		m.FileLost = false
		return a.showPublish(c, http.StatusOK, m)
	}
	p := a.problem(c, a.brokerProblem(err))
	if len(p.Errors) == 0 {
		m.Flash = &ui.FlashProps{Kind: "error", Text: "The message was not published.", Detail: p.Detail}
	}
	return a.showPublish(c, p.Status, m.WithErrors(p.Errors))
}

// checkJSON says whether a body is JSON and, if not, what is wrong with it.
func checkJSON(body []byte) string {
	var v any
	err := json.Unmarshal(body, &v)
	var syntax *json.SyntaxError
	switch {
	case err == nil:
		return "Valid JSON."
	case errors.As(err, &syntax):
		before := body[:min(int(syntax.Offset), len(body))]
		line := bytes.Count(before, []byte("\n")) + 1
		return fmt.Sprintf("Not valid JSON: %s, in line %d.", syntax.Error(), line)
	}
	return views.AsSentence("Not valid JSON: " + err.Error())
}

// uploadedBody returns the file of the form; nil without one.
func uploadedBody(c echo.Context) ([]byte, error) {
	header, err := c.FormFile("file")
	if err != nil || header.Size == 0 && header.Filename == "" {
		return nil, nil //nolint:nilerr // no file was chosen, or the form has no files
	}
	if header.Size > messages.BodyMax {
		return nil, badField("file", "is larger than "+binary(messages.BodyMax))
	}
	file, err := header.Open()
	if err != nil {
		return nil, fmt.Errorf("open the uploaded file: %w", err)
	}
	defer func() { _ = file.Close() }()
	body, err := io.ReadAll(io.LimitReader(file, messages.BodyMax))
	if err != nil {
		return nil, fmt.Errorf("read the uploaded file: %w", err)
	}
	return body, nil
}

// messageOfForm reads the form; its errors name the fields that could not be read.
func messageOfForm(form url.Values) (m messages.Message, wrong jobs.FieldErrors) {
	get := func(name string) string { return strings.TrimSpace(form.Get(name)) }
	body := strings.ReplaceAll(form.Get("body"), "\r\n", "\n") // browsers send every line break as two characters
	m = messages.Message{Exchange: get("exchange"), Key: form.Get("routing_key"), Body: []byte(body),
		Properties: messages.Properties{ContentType: get("content_type"), ContentEncoding: get("content_encoding"),
			DeliveryMode: deliveryMode(form.Get("persistent") != ""), CorrelationID: form.Get("correlation_id"), ReplyTo: get("reply_to"),
			Expiration: get("expiration"), MessageID: form.Get("message_id"), Timestamp: get("timestamp"), Type: get("type"),
			UserID: get("user_id"), AppID: form.Get("app_id")}}
	var err error
	if m.Priority, err = strconv.Atoi(cmp.Or(get("priority"), "0")); err != nil {
		wrong = append(wrong, jobs.FieldError{Field: "priority", Message: "must be a whole number from 0 to 255"})
	}
	if m.Headers, err = messages.ParseHeaders(strings.Split(form.Get("headers"), "\n")); err != nil {
		wrong = append(wrong, jobs.FieldError{Field: "headers", Message: "cannot be read: " + err.Error()})
	}
	return m, wrong
}

func deliveryMode(persistent bool) int {
	if persistent {
		return 2
	}
	return 1
}

// publishByHand publishes a message and writes down who did, unless something is wrong with it. One to
// Warren's own exchanges and queues has to be confirmed, and takes the right to submit jobs as well.
func (a *App) publishByHand(
	c echo.Context, m messages.Message, wrong jobs.FieldErrors, confirmed bool,
) (answer messages.Answer, err error) {
	ctx, cancel := context.WithTimeout(c.Request().Context(), 4*queryTimeout) // connect, ask for the bindings, and wait for the confirm
	defer cancel()
	wrong = addNew(wrong, m.Check())
	if own := a.Broker.Own(m.Exchange, m.Key); own != "" {
		if why := lacks(ctx, Submit); why != "" {
			return answer, echo.NewHTTPError(http.StatusForbidden, why)
		}
		if !confirmed {
			wrong = append(wrong, jobs.FieldError{Field: "confirm", Message: "is required. " + own})
		}
	}
	if len(wrong) > 0 {
		return answer, wrong
	}
	if answer, err = a.Broker.Publish(ctx, m); err != nil {
		return answer, err
	}
	return answer, a.auditPublished(ctx, a.by(c), m, answer)
}

func (a *App) auditPublished(ctx context.Context, by jobs.Actor, m messages.Message, answer messages.Answer) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), queryTimeout)
	defer cancel()
	if err := a.Store.WriteAudit(ctx, by, messages.AuditAction, m.AuditTarget(), m.AuditDetails(answer)); err != nil {
		a.Log.Error("write the audit log", "error", err)
		return echo.NewHTTPError(http.StatusServiceUnavailable, "The message was published, but not written to the audit log. "+
			answer.String())
	}
	return nil
}

// messageRequest is the body of POST /api/v1/messages.
type messageRequest struct {
	Exchange        string          `json:"exchange"`
	Key             string          `json:"routing_key"`
	Body            string          `json:"body"`
	Binary          []byte          `json:"body_base64"`
	ContentType     string          `json:"content_type"`
	ContentEncoding string          `json:"content_encoding"`
	Transient       bool            `json:"transient"`
	Priority        int             `json:"priority"`
	CorrelationID   string          `json:"correlation_id"`
	ReplyTo         string          `json:"reply_to"`
	Expiration      string          `json:"expiration"`
	MessageID       string          `json:"message_id"`
	Timestamp       string          `json:"timestamp"`
	Type            string          `json:"type"`
	UserID          string          `json:"user_id"`
	AppID           string          `json:"app_id"`
	Headers         json.RawMessage `json:"headers"`
	Confirm         bool            `json:"confirm"`
}

func (r messageRequest) message() (m messages.Message, wrong jobs.FieldErrors) {
	m = messages.Message{Exchange: r.Exchange, Key: r.Key, Body: []byte(r.Body), Properties: messages.Properties{ContentType: r.ContentType,
		ContentEncoding: r.ContentEncoding, DeliveryMode: deliveryMode(!r.Transient), Priority: r.Priority, CorrelationID: r.CorrelationID,
		ReplyTo: r.ReplyTo, Expiration: r.Expiration, MessageID: r.MessageID, Timestamp: r.Timestamp, Type: r.Type, UserID: r.UserID,
		AppID: r.AppID}}
	if len(r.Binary) > 0 {
		if m.Body = r.Binary; r.Body != "" {
			wrong = append(wrong, jobs.FieldError{Field: "body_base64", Message: "is not possible together with body"})
		}
	}
	var err error
	if m.Headers, err = messages.HeadersOfJSON(r.Headers); err != nil {
		wrong = append(wrong, jobs.FieldError{Field: "headers", Message: err.Error()})
	}
	return m, wrong
}

// apiPublish publishes the message of the body.
func (a *App) apiPublish(c echo.Context) error {
	var req messageRequest
	unreadable, err := readJSON(c, &req)
	if err != nil {
		return err
	}
	m, more := req.message()
	answer, err := a.publishByHand(c, m, append(unreadable, more...), req.Confirm)
	if err != nil {
		return a.brokerProblem(err)
	}
	return c.JSON(http.StatusOK, answer)
}
