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
)

// serve answers HTTP until ctx ends: everything for the role web, health and metrics for the others.
func (p *process) serve(ctx context.Context, listener net.Listener) error {
	access, err := handlers.NewAccess(p.cfg.Password, p.cfg.TrustProxy, p.cfg.ReadOnly)
	if err != nil {
		return err
	}
	app := &handlers.App{Store: p.store, Registry: p.registry, Purger: newPurger(p.store, p.broker, p.announcer.Announce), Announce: p.announcer.Announce,
		Live: p.live, Metrics: handlers.NewMetrics(p.store), VHost: p.broker.VHost(), QueuePrefix: p.broker.Names.QueuePrefix(), DeadQueue: p.broker.Names.Dead(),
		Environment: p.cfg.Environment, Access: access, Management: p.manage != nil, Process: p.self.ID, Log: p.log,
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
		BaseContext:       func(net.Listener) context.Context { return context.WithoutCancel(ctx) }, // what was asked is answered
	}
	server.RegisterOnShutdown(app.Live.Close)
	go app.WatchDatabase(ctx)
	go app.Live.Tick(ctx)
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		<-ctx.Done()
		stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		if server.Shutdown(stopping) != nil {
			_ = server.Close()
		}
	}()
	p.logAddress(listener.Addr())
	if err := server.Serve(listener); err != nil && !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve HTTP: %w", err)
	}
	<-stopped
	return nil
}

// logAddress says where we answer and who may come in.
func (p *process) logAddress(addr net.Addr) {
	if !slices.Contains(p.roles, RoleWeb) {
		p.log.Info("health and metrics are at http://" + addr.String())
		return
	}
	access := "everybody on this machine"
	switch {
	case p.cfg.Password != "":
		access = "whoever has WARREN_PASSWORD"
	case p.cfg.TrustProxy != "":
		access = "whom the proxy names in the header " + p.cfg.TrustProxy
	}
	p.log.Info("the dashboard is at http://"+addr.String(), "access", access, "read_only", p.cfg.ReadOnly)
}
