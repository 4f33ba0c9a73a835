package web

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"time"

	"github.com/warrenjobs/warren"
)

// server is the HTTP server of a process.
type server struct {
	cfg        Config
	log        *slog.Logger
	dashboard  bool // and not only health and metrics
	handler    http.Handler
	endStreams func()
}

func newServer(client *warren.Client, cfg Config, roles []warren.Role, log *slog.Logger) (*server, error) {
	s := &server{cfg: cfg, log: log, endStreams: client.EndStreams, dashboard: slices.Contains(roles, warren.RoleWeb)}
	var err error
	if s.dashboard {
		s.handler, err = client.Dashboard(guard(cfg)...)
	} else {
		s.handler, err = client.HealthHandler()
	}
	return s, err
}

func guard(cfg Config) (options []warren.DashboardOption) {
	if cfg.BasePath != "" {
		options = append(options, warren.At(cfg.BasePath))
	}
	if len(cfg.Proxies) > 0 {
		options = append(options, warren.Proxies(cfg.Proxies...))
	}
	if len(cfg.Hosts) > 0 {
		options = append(options, warren.Hosts(cfg.Hosts...))
	}
	if cfg.Password != "" {
		options = append(options, warren.Password(cfg.Password))
	}
	if cfg.TrustProxy != "" {
		options = append(options, warren.TrustProxy(cfg.TrustProxy))
	}
	if cfg.ReadOnly {
		options = append(options, warren.ReadOnly())
	}
	return options
}

// serve serves HTTP until ctx ends.
func (s *server) serve(ctx context.Context, listener net.Listener) error {
	handler := s.handler
	if os.Getenv("TEMPL_DEV_MODE") != "" { // make dev
		handler = uncompressed(handler)
	}
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       time.Minute,
		WriteTimeout:      time.Minute,
		IdleTimeout:       2 * time.Minute,
		BaseContext:       func(net.Listener) context.Context { return context.WithoutCancel(ctx) }, // requests in progress are answered
	}
	server.RegisterOnShutdown(s.endStreams)
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
	s.logAddress(listener.Addr())
	if err := server.Serve(listener); err != nil && !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve HTTP: %w", err)
	}
	<-stopped
	return nil
}

// uncompressed serves without compression: the proxy of templ 0.3.977, which has pages reload, makes
// compressed ones empty.
func uncompressed(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Header.Del("Accept-Encoding")
		next.ServeHTTP(w, r)
	})
}

// logAddress logs the address of the server and who may use it.
func (s *server) logAddress(addr net.Addr) {
	if !s.dashboard {
		s.log.Info("health and metrics are at http://" + addr.String())
		return
	}
	access := "everybody on this machine"
	switch {
	case s.cfg.Password != "":
		access = "whoever has WARREN_PASSWORD"
	case s.cfg.TrustProxy != "":
		access = "whom the proxy names in the header " + s.cfg.TrustProxy
	}
	s.log.Info("the dashboard is at http://"+addr.String()+s.cfg.BasePath, "access", access, "read_only", s.cfg.ReadOnly)
}
