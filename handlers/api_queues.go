package handlers

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/warrenjobs/warren/jobs"
	"github.com/warrenjobs/warren/store"
	"github.com/warrenjobs/warren/views/ui"
)

// jobQueue is Warren's name of a broker's queue; ok is false for a queue without jobs of ours.
func (a *App) jobQueue(vhost, name string) (queue string, ok bool) {
	queue, ok = strings.CutPrefix(name, a.QueuePrefix)
	return queue, ok && vhost == a.VHost
}

func (a *App) apiRedeliveries(c echo.Context) error {
	vhost, name, err := queueParams(c)
	if err != nil {
		return err
	}
	limit, err := parseLimit(c)
	if err != nil {
		return err
	}
	before, err := parseNumber(c)
	if err != nil {
		return err
	}
	queue, ok := a.jobQueue(vhost, name)
	if !ok { // workers of this deployment see only its own queues
		return c.JSON(http.StatusOK, newList([]jobs.Redelivery{}, ""))
	}
	ctx, cancel := query(c)
	defer cancel()
	items, next, err := a.Store.Redeliveries(ctx, queue, before, limit)
	if err != nil {
		return err
	}
	cursor := ""
	if next != 0 {
		cursor = strconv.FormatInt(next, 10)
	}
	return c.JSON(http.StatusOK, newList(items, cursor))
}

func parseNumber(c echo.Context) (int64, error) {
	s := c.QueryParam("cursor")
	if s == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(s, 10, 63)
	if err != nil || n < 1 {
		return 0, badField("cursor", "is no cursor of this list: take it from \"next\"")
	}
	return n, nil
}

// queueParams reads vhost and name, each one path segment that ui.Segment wrote; a
// slash may also be %2F.
func queueParams(c echo.Context) (vhost, name string, err error) {
	unescape := url.PathUnescape
	if c.Request().URL.RawPath == "" { // echo routes by the raw path if there is one, else by the decoded
		unescape = func(s string) (string, error) { return s, nil }
	}
	vhost, err1 := unescape(c.Param("vhost"))
	name, err2 := unescape(c.Param("name"))
	if err1 != nil || err2 != nil || vhost == "" || name == "" {
		return "", "", echo.NewHTTPError(http.StatusBadRequest, fmt.Sprintf("%q / %q is not a queue: write ~1 for a slash, as of the virtual host /, and ~0 for ~.", c.Param("vhost"), c.Param("name")))
	}
	return ui.FromSegment(vhost), ui.FromSegment(name), nil
}

func (a *App) apiQueues(c echo.Context) error {
	limit, err := parseLimit(c)
	if err != nil {
		return err
	}
	offset, err := parseNumber(c)
	if err != nil {
		return err
	}
	ctx, cancel := query(c)
	defer cancel()
	queues, all, err := a.Store.Queues(ctx, store.QueueFilter{Limit: limit, Offset: int(offset)})
	if err != nil {
		return err
	}
	next := ""
	if end := int(offset) + len(queues); end < all {
		next = strconv.Itoa(end)
	}
	return c.JSON(http.StatusOK, newList(queues, next))
}
