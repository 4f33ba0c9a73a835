package web

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/warrenjobs/warren/handlers"
	"github.com/warrenjobs/warren/store"
)

// serve answers HTTP until ctx ends: everything for the role web, health and metrics for the others.
func (p *process) serve(ctx context.Context, listener net.Listener) error {
	app := &handlers.App{Store: p.store, Registry: p.registry, Announce: p.announcer.Announce, Live: handlers.NewHub(),
		Metrics: handlers.NewMetrics(p.store), VHost: p.broker.VHost(), QueuePrefix: p.broker.Names.QueuePrefix(), DeadQueue: p.broker.Names.Dead(),
		Environment: p.cfg.Environment, Management: p.manage != nil, Log: p.log,
		Waiting: func() string { why, _ := p.waiting.Load().(string); return why }}
	e := echo.New()
	e.HideBanner, e.HidePort = true, true
	if slices.Contains(p.roles, RoleWeb) {
		app.Routes(e)
	} else {
		app.HealthRoutes(e)
	}
	server := &http.Server{
		Handler:           app.CrossOrigin(e),
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       time.Minute,
		WriteTimeout:      time.Minute,
		IdleTimeout:       2 * time.Minute,
		BaseContext:       func(net.Listener) context.Context { return ctx }, // ends the live streams when we stop
	}
	go app.WatchDatabase(ctx)
	go func() {
		_ = p.store.Listen(ctx, p.log, store.Listeners{Change: app.Live.Change, Reconnected: app.Live.Lost})
	}()
	go func() {
		<-ctx.Done()
		stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		_ = server.Shutdown(stopping)
	}()
	p.log.Info("the dashboard is at http://" + listener.Addr().String())
	if err := server.Serve(listener); err != nil && !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve HTTP: %w", err)
	}
	return nil
}
